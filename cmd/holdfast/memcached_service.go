package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"holdfast.dev/internal/authority"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint/discovery"
	"holdfast.dev/internal/engine/memcached"
	"holdfast.dev/internal/reconcile"
	"holdfast.dev/internal/store"
)

// sharedMemory is a file system in memory that every Linux has. It outlives processes
// and not the machine, which is what items of memcached may do.
const sharedMemory = "/dev/shm"

// memoryDir is where the items of the memcacheds of a data directory are kept over a planned
// stop; "" if there is no such place. Its name is made from the data directory's, so that
// two installations do not meet.
func (d dataDir) memoryDir() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	if _, err := os.Stat(sharedMemory); err != nil {
		return ""
	}
	path, err := filepath.Abs(string(d))
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	sum := sha256.Sum256([]byte(path))
	dir := filepath.Join(sharedMemory, "holdfast-"+strconv.Itoa(os.Getuid())+"-"+hex.EncodeToString(sum[:8]))
	if !ownDirectory(dir) {
		return ""
	}
	return dir
}

// ownDirectory tells whether a directory in a place where anybody may make one is ours
// alone, or not there yet.
func ownDirectory(dir string) bool {
	info, err := os.Lstat(dir)
	if os.IsNotExist(err) {
		return true
	}
	return err == nil && info.IsDir() && info.Mode().Perm()&0o077 == 0 && ownedByUs(info)
}

// authority is the installation's own.
func (d dataDir) authority() string { return filepath.Join(string(d), "authority") }

// fronts stands before memcacheds for the reconciler.
type fronts struct {
	doors     *discovery.Manager
	nodes     *memcached.Nodes
	authority *authority.Authority
}

// Set implements reconcile.Discovery.
func (f fronts) Set(ctx context.Context, cluster string, want cache.MemcachedFronts) error {
	list := discovery.List{Version: want.Version}
	for _, a := range want.List {
		n := discovery.Node{Host: a.Host, Port: a.Port}
		if net.ParseIP(a.Host) != nil {
			n.IP = a.Host
		}
		list.Nodes = append(list.Nodes, n)
	}
	doors := make([]discovery.Door, 0, len(want.Doors))
	for _, w := range want.Doors {
		d := discovery.Door{Host: w.At.Host, Port: w.At.Port}
		for _, node := range w.To {
			d.To = append(d.To, func(ctx context.Context) (net.Conn, error) {
				return f.nodes.Dial(ctx, cache.MemcachedSpec{Cluster: cluster, Node: node})
			})
		}
		if want.TransitEncryption {
			d.TLS = f.authority.Server([]string{w.At.Host})
		}
		doors = append(doors, d)
	}
	return f.doors.Set(ctx, cluster, doors, list)
}

// Remove implements reconcile.Discovery.
func (f fronts) Remove(ctx context.Context, cluster string) error {
	return f.doors.Remove(ctx, cluster)
}

// unhonoured names the parameters whose values an installed build cannot have.
func (in *installation) unhonoured(build string, values map[string]string) []string {
	if b, ok := in.catalog.Build(build); ok && b.Engine == cache.Memcached {
		return in.memcacheds.Unapplied(cache.MemcachedSpec{Build: build, Parameters: values})
	}
	return in.engines.Unhonoured(build, values)
}

// stopMemcacheds stops the nodes of a Memcached cluster. Their items are kept, if there is
// room for that and they are not to be discarded, for the next start.
func (in *installation) stopMemcacheds(ctx context.Context, c *cache.CacheCluster, o downOptions) error {
	for i := range c.Memcached.Nodes {
		n := &c.Memcached.Nodes[i]
		spec := c.MemcachedSpec(n.ID)
		var kept bool
		var err error
		if o.discard {
			err = in.memcacheds.Stop(ctx, spec, n.Process)
		} else {
			kept, err = in.memcacheds.StopKeeping(ctx, spec)
		}
		if err != nil {
			return err
		}
		how := "stopped, without its items"
		if kept {
			how = "stopped, with its items kept in memory"
		}
		fmt.Fprintf(o.out, "%s: %s\n", spec.Key(), how)
		if err := in.db.Update(ctx, func(tx *store.Tx) error { return reconcile.NoteMemcachedStopped(tx, c.Key(), n.ID) }); err != nil {
			return err
		}
	}
	return nil
}
