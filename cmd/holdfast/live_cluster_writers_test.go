package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// startClusterWriters is startWriters for one database of a server, or for a cluster: it
// goes where it is sent, and tries again what passes.
func startClusterWriters(t *testing.T, nodes []*testkit.Server) *writers {
	t.Helper()
	w := &writers{stop: make(chan struct{}), acked: map[string]int64{}, sent: map[string]int64{}, cluster: true}
	w.write(t, newClusterClient(nodes))
	return w
}

// clusterClient is a client of a cluster, of the simplest kind.
type clusterClient struct {
	addrs []string
	conns map[string]*resp.Conn
	owner map[int]string
}

func newClusterClient(nodes []*testkit.Server) *clusterClient {
	c := &clusterClient{conns: map[string]*resp.Conn{}, owner: map[int]string{}}
	for _, s := range nodes {
		c.addrs = append(c.addrs, s.Addr())
	}
	return c
}

// Do carries a command out where its first key is. The reply is of no use.
func (c *clusterClient) Do(ctx context.Context, args ...string) (*resp.Reply, error) {
	slot := resp.Slot([]byte(args[1]))
	if c.owner[slot] == "" {
		c.owner[slot] = c.addrs[0]
	}
	to, ask := c.owner[slot], false
	for begun := time.Now(); ; {
		r, err := c.try(ctx, to, ask, args)
		var said *resp.ServerError
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil || time.Since(begun) > patience:
			return nil, err
		case errors.As(err, &said):
			where, sent := c.conns[to].Redirection(err)
			if sent {
				if to, ask = where.Addr, where.Ask; !ask {
					c.owner[slot] = to
				}
				continue
			}
			if strings.Contains(said.Text, "no such key") {
				return nil, nil // the RENAME was carried out, and the answer lost with its server
			}
			if !resp.IsServerError(err, "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY") {
				return nil, err
			}
			to, ask = c.owner[slot], false
		default: // it has gone: others know who took its place
			c.forget(to)
			to, ask = c.next(to), false
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond): // and asked again, as long as begun allows
		}
	}
}

func (c *clusterClient) next(addr string) string {
	for i, a := range c.addrs {
		if a == addr {
			return c.addrs[(i+1)%len(c.addrs)]
		}
	}
	return c.addrs[0]
}

func (c *clusterClient) forget(addr string) {
	if conn := c.conns[addr]; conn != nil {
		_ = conn.Close()
		delete(c.conns, addr)
	}
}

func (c *clusterClient) try(ctx context.Context, addr string, ask bool, args []string) (*resp.Reply, error) {
	conn := c.conns[addr]
	if conn == nil {
		var err error
		if conn, err = resp.Dial(ctx, resp.Options{Addr: addr, Timeout: patience}); err != nil {
			return nil, err
		}
		c.conns[addr] = conn
	}
	if ask {
		if _, err := conn.Do(ctx, "ASKING"); err != nil {
			return nil, err
		}
	}
	return conn.Do(ctx, args...)
}

// Close hangs up everywhere.
func (c *clusterClient) Close() error {
	var err error
	for _, conn := range c.conns {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// mark writes a key into each of some slots, now.
func (c *clusterClient) mark(t *testing.T, name string, slots []int) (keys []string) {
	t.Helper()
	for _, slot := range slots {
		key := fmt.Sprintf("{%s}%s", tagOf(slot), name)
		if _, err := c.Do(t.Context(), "SET", key, name); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func (c *clusterClient) remove(t *testing.T, keys []string) {
	t.Helper()
	for _, key := range keys {
		if _, err := c.Do(t.Context(), "DEL", key); err != nil {
			t.Fatal(err)
		}
	}
}

// tagOf is a word whose slot is the one given.
func tagOf(slot int) string {
	for i := 0; ; i++ {
		if tag := fmt.Sprint(i); resp.Slot([]byte(tag)) == slot {
			return tag
		}
	}
}
