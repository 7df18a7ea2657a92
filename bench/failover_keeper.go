package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/resp"
)

// keeper is something that keeps a primary in service: ours, or one of the
// engines' own ways.
type keeper struct {
	name          string
	cluster, ours bool
	// tag stands in every key, so that in cluster mode all are in one shard.
	tag string
	// find asks for the primary as a client would.
	find func(ctx context.Context) (addr string, err error)
	// renew sets everything up anew, if losses before would tell in the next.
	renew func(ctx context.Context) error
	// settled tells whether it knows itself to be whole.
	settled func(ctx context.Context) (bool, error)
	// heal starts again what was killed; nil where the keeper does so itself.
	heal func(ctx context.Context, pid int) error
	stop func() error
}

// whole waits until there is a primary, with a replica in step.
func (k *keeper) whole(ctx context.Context) error {
	var last string
	err := poll(ctx, look, func() (bool, error) {
		at, err := k.find(ctx)
		if err != nil {
			last = err.Error()
			return false, nil
		}
		if last, err = asked(ctx, at, "INFO", "replication"); err != nil {
			last = err.Error()
			return false, nil
		}
		if !strings.Contains(last, "role:master") || !strings.Contains(last, "state=online") {
			return false, nil
		}
		return k.settled(ctx)
	})
	if err != nil {
		return fmt.Errorf("%w; last: %s", err, last)
	}
	return nil
}

// victim is a process of the engine: its pid, and the name of its run.
type victim struct {
	pid int
	run string
}

// victim is the process that is the primary. Clients may be cut off while roles change.
func (k *keeper) victim(ctx context.Context) (v victim, err error) {
	var last error
	err = poll(ctx, look, func() (bool, error) {
		v, last = k.look(ctx)
		return last == nil, nil
	})
	if err != nil {
		err = errors.Join(err, last)
	}
	return v, err
}

func (k *keeper) look(ctx context.Context) (v victim, err error) {
	at, err := k.find(ctx)
	if err != nil {
		return v, err
	}
	text, err := asked(ctx, at, "INFO", "server")
	if err != nil {
		return v, err
	}
	v.run = infoField(text, "run_id")
	v.pid, err = strconv.Atoi(infoField(text, "process_id"))
	if err != nil || v.pid <= 1 || v.run == "" {
		return v, fmt.Errorf("%s does not tell its process", at)
	}
	return v, nil
}

func infoField(text, name string) string {
	_, rest, _ := strings.Cut("\n"+text, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// brief is how long a single question may take: many follow each other.
const brief = time.Second

// brisk connects to a server that may be about to die. Connections are ended
// abruptly, so that thousands of them leave nothing behind in the kernel.
func brisk(ctx context.Context, addr string, within time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: within}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	t := c.(*net.TCPConn)
	return t, errors.Join(t.SetLinger(0), t.SetDeadline(time.Now().Add(within)))
}

// converse makes a connection for a few commands and the reader of its replies.
func converse(ctx context.Context, addr string, within time.Duration, cmds []byte) (net.Conn, *resp.Reader, error) {
	c, err := brisk(ctx, addr, within)
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.Write(cmds); err != nil {
		_ = c.Close() // the error is known
		return nil, nil, err
	}
	return c, resp.NewReader(c), nil
}

// asked is the text of one reply.
func asked(ctx context.Context, addr string, args ...string) (string, error) {
	c, r, err := converse(ctx, addr, brief, resp.AppendCommand(nil, args...))
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
	return string(reply.Bytes), nil
}

// shardOwner finds the primary of a key's shard from nodes of other shards, which
// name it.
func shardOwner(seeds []string, key string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		var errs []error
		for _, s := range seeds {
			_, err := asked(ctx, s, "GET", key)
			var se *resp.ServerError
			if errors.As(err, &se) {
				if f := strings.Fields(se.Text); len(f) == 3 && f[0] == "MOVED" {
					return f[2], nil
				}
			}
			errs = append(errs, fmt.Errorf("%s does not say where %s is: %w", s, key, errors.Join(err)))
		}
		return "", errors.Join(errs...)
	}
}

// shardTag is a tag whose keys are in the first of a cluster's shards.
func shardTag(t *resp.Topology) (string, error) {
	owners := t.Owners()
	for i := range 1 << 16 {
		tag := fmt.Sprintf("{t%d}", i)
		if owners[resp.Slot([]byte(tag))] == 0 {
			return tag, nil
		}
	}
	return "", errors.New("the first shard of the cluster has no slots")
}

// clusterFine tells whether all nodes of a cluster think that all is well.
func clusterFine(ctx context.Context, nodes []string) bool {
	return !slices.ContainsFunc(nodes, func(n string) bool {
		info, err := asked(ctx, n, "CLUSTER", "INFO")
		if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
			return true
		}
		table, err := asked(ctx, n, "CLUSTER", "NODES")
		return err != nil || strings.Contains(table, "fail") && !onlyNoFailover(table) || strings.Contains(table, "handshake")
	})
}

// onlyNoFailover: the word fail stands in a flag that says nothing about health.
func onlyNoFailover(table string) bool {
	return strings.Count(table, "fail") == strings.Count(table, "nofailover")
}
