package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// downAfter is what people set who want Sentinel to be quick; it ships with 30 s.
const downAfter = 1000

// again starts a server that was killed, at its old address, with more lines for
// its configuration.
func (s *server) again(ctx context.Context, conf ...string) error {
	<-s.gone
	path := filepath.Join(s.dir, "engine.conf")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + strings.Join(conf, "\n") + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.gone = make(chan struct{})
	if err := s.exec(path); err != nil {
		return fmt.Errorf("cannot start %s again: %w", s.build.Name, err)
	}
	return s.awaitPing(ctx)
}

// fleet are the servers of a peer.
type fleet []*server

func (l *lab) fleet(ctx context.Context, b catalog.Build, n int, conf ...string) (all fleet, err error) {
	for range n {
		dir, err := l.mkdir("peer")
		if err != nil {
			return all, err
		}
		s, err := l.start(ctx, b, dir, conf...)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (f fleet) stop() error {
	var errs []error
	for _, s := range f {
		errs = append(errs, s.stop(), os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func (f fleet) at(addr string) *server {
	i := slices.IndexFunc(f, func(s *server) bool { return s.addr() == addr })
	if i < 0 {
		return nil
	}
	return f[i]
}

func (f fleet) byPID(pid int) *server {
	i := slices.IndexFunc(f, func(s *server) bool { return s.cmd.Process.Pid == pid })
	if i < 0 {
		return nil
	}
	return f[i]
}

// sentinelKeeper is a primary with a replica under three Sentinels.
func (l *lab) sentinelKeeper(b catalog.Build) *keeper {
	k := &keeper{name: fmt.Sprintf("3 Sentinels, down-after %d ms", downAfter)}
	var nodes, sentinels fleet
	k.renew = func(ctx context.Context) (err error) {
		if len(sentinels) > 0 {
			return nil
		}
		if nodes, err = l.fleet(ctx, b, 2); err != nil {
			return err
		}
		first := strconv.Itoa(nodes[0].port)
		if _, err := nodes[1].do(ctx, "REPLICAOF", "127.0.0.1", first); err != nil {
			return err
		}
		sentinels, err = l.sentinels(ctx, b, first)
		return err
	}
	k.find = func(ctx context.Context) (string, error) {
		var errs []error
		for _, s := range sentinels {
			at, err := masterOf(ctx, s)
			if err == nil {
				return at, nil
			}
			errs = append(errs, err)
		}
		return "", errors.Join(errs...)
	}
	k.settled = func(ctx context.Context) (bool, error) {
		for _, s := range sentinels {
			if !watches(ctx, s) {
				return false, nil
			}
		}
		return true, nil
	}
	k.heal = func(ctx context.Context, pid int) error {
		at, err := k.find(ctx)
		now := nodes.at(at)
		if err != nil || now == nil {
			return errors.Join(err, fmt.Errorf("the Sentinels name a primary that is none of ours: %s", at))
		}
		return nodes.byPID(pid).again(ctx, fmt.Sprintf("replicaof 127.0.0.1 %d", now.port))
	}
	k.stop = func() error { return errors.Join(sentinels.stop(), nodes.stop()) }
	return k
}

const sentinelName = "measured"

func (l *lab) sentinels(ctx context.Context, b catalog.Build, port string) (all fleet, err error) {
	for range 3 {
		s := &server{build: b, args: []string{"--sentinel"}, gone: make(chan struct{})}
		if s.dir, err = l.mkdir("sentinel"); err != nil {
			return all, err
		}
		if s.port, err = freePort(); err != nil {
			return all, err
		}
		path := filepath.Join(s.dir, "engine.conf")
		text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %q\nsentinel monitor %s 127.0.0.1 %s 2\n"+
			"sentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s 10000\n", s.port, s.dir, sentinelName, port, sentinelName, downAfter, sentinelName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return all, err
		}
		if err := s.exec(path); err != nil {
			return all, fmt.Errorf("cannot start a Sentinel: %w", err)
		}
		all = append(all, s)
		if err := s.awaitPing(ctx); err != nil {
			return all, fmt.Errorf("cannot start a Sentinel: %w; its log:\n%s", err, s.log())
		}
	}
	return all, nil
}

// masterOf asks a Sentinel as its clients do.
func masterOf(ctx context.Context, s *server) (string, error) {
	c, r, err := converse(ctx, s.addr(), brief, resp.AppendCommand(nil, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinelName))
	if err != nil {
		return "", err
	}
	defer c.Close()
	reply, err := r.Next()
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return "", err
	}
	if len(reply.Elems) != 2 {
		return "", errors.New("the Sentinel knows no primary")
	}
	return string(reply.Elems[0].Bytes) + ":" + string(reply.Elems[1].Bytes), nil
}

// watches tells whether a Sentinel knows the others, and takes the primary and its
// replica for well.
func watches(ctx context.Context, s *server) bool {
	c, err := resp.Dial(ctx, resp.Options{Addr: s.addr(), RESP2: true})
	if err != nil {
		return false
	}
	defer c.Close()
	r, err := c.Do(ctx, "SENTINEL", "MASTER", sentinelName)
	if err != nil {
		return false
	}
	m := fields(r)
	if m["flags"] != "master" || m["num-other-sentinels"] != "2" || m["num-slaves"] != "1" {
		return false
	}
	if r, err = c.Do(ctx, "SENTINEL", "SLAVES", sentinelName); err != nil || len(r.Elems) != 1 {
		return false
	}
	m = fields(&r.Elems[0])
	return m["flags"] == "slave" && m["master-link-status"] == "ok"
}

func fields(r *resp.Reply) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(r.Elems); i += 2 {
		out[string(r.Elems[i].Bytes)] = string(r.Elems[i+1].Bytes)
	}
	return out
}

// clusterKeeper is the engine's own cluster as it comes: three primaries with a
// replica each, and cluster-node-timeout 15 s.
func (l *lab) clusterKeeper(b catalog.Build) *keeper {
	k := &keeper{name: "the engine's cluster, default timeout", cluster: true}
	var nodes fleet
	k.renew = func(ctx context.Context) (err error) {
		if len(nodes) > 0 {
			return nil
		}
		if nodes, err = l.fleet(ctx, b, 6, "cluster-enabled yes"); err != nil {
			return err
		}
		if err := formCluster(ctx, nodes); err != nil {
			return err
		}
		_, err = k.learn(ctx, nodes[0].addr())
		return err
	}
	k.settled = func(ctx context.Context) (bool, error) {
		var at []string
		for _, s := range nodes {
			at = append(at, s.addr())
		}
		return clusterFine(ctx, at), nil
	}
	// Its table is in its directory: it finds the cluster, and its place in it.
	k.heal = func(ctx context.Context, pid int) error { return nodes.byPID(pid).again(ctx) }
	k.stop = func() error { return nodes.stop() }
	return k
}

// formCluster makes the first three nodes primaries and the others their replicas.
func formCluster(ctx context.Context, nodes fleet) error {
	const shards = 3
	for i, s := range nodes {
		if i < shards {
			args := []string{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i * resp.Slots / shards), strconv.Itoa((i+1)*resp.Slots/shards - 1)}
			if _, err := s.do(ctx, args...); err != nil {
				return err
			}
			if _, err := s.do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
				return err
			}
		}
		if i > 0 {
			if _, err := s.do(ctx, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(nodes[0].port)); err != nil {
				return err
			}
		}
	}
	for i, s := range nodes[shards:] {
		id, err := nodes[i].do(ctx, "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		if err := poll(ctx, look, func() (bool, error) {
			_, err := s.do(ctx, "CLUSTER", "REPLICATE", id)
			return err == nil, nil // it does not know the primary yet
		}); err != nil {
			return err
		}
	}
	return poll(ctx, look, func() (bool, error) {
		t, err := resp.Discover(ctx, nodes[0].options())
		return err == nil && t.Covered() == resp.Slots && len(t.Addrs()) == len(nodes), nil
	})
}
