package slots

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// patience bounds what a test waits for; machines differ.
const testPatience = 150 * time.Second

// rig is a cluster whose second primary gets slots of the first.
type rig struct {
	*testkit.ClusterServers
	t    *testing.T
	ctx  context.Context
	kept *client
}

func newRig(t *testing.T, b catalog.Build, primaries, replicas int) *rig {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)
	var opts []testkit.Option
	if b.Rebind { // came with the choice whether an emptied primary becomes a replica
		opts = append(opts, testkit.Config("cluster-allow-replica-migration no"))
	}
	return &rig{ClusterServers: testkit.StartCluster(t, b, primaries, replicas, opts...), t: t, ctx: ctx}
}

func (g *rig) node(s *testkit.Server) Node {
	return Node{ID: s.Must("CLUSTER", "MYID").(string), At: resp.Options{Addr: s.Addr(), RESP2: true}}
}

// order is a Move between two servers.
func (g *rig) order(from, to *testkit.Server, slots cache.Slots) Move {
	m := Move{Source: g.node(from), Target: g.node(to), Slots: slots}
	for _, s := range g.All() {
		if s != from && s != to && s.Pid() != 0 {
			m.Others = append(m.Others, g.node(s))
		}
	}
	return m
}

// do is a command of a client that follows redirections.
func (g *rig) do(args ...string) *resp.Reply {
	g.t.Helper()
	c := g.client()
	defer c.close()
	r, err := c.do(g.ctx, args...)
	if err != nil {
		g.t.Fatalf("%v: %v", args, err)
	}
	return r
}

// client follows MOVED and ASK.
type client struct {
	conns map[string]*resp.Conn
	slots map[int]string
	seeds []string
}

func (g *rig) client() *client {
	c := &client{conns: map[string]*resp.Conn{}, slots: map[int]string{}}
	for _, s := range g.All() {
		c.seeds = append(c.seeds, s.Addr())
	}
	return c
}

func (c *client) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *client) at(ctx context.Context, addr string) (*resp.Conn, error) {
	if conn := c.conns[addr]; conn != nil {
		return conn, nil
	}
	conn, err := resp.Dial(ctx, resp.Options{Addr: addr, RESP2: true})
	if err == nil {
		c.conns[addr] = conn
	}
	return conn, err
}

// errUnsure: nobody knows whether the command was done.
var errUnsure = errors.New("the connection broke before the reply")

// do sends a command to the owner of its key, which is the argument after the name, or
// of EVAL the first key.
func (c *client) do(ctx context.Context, args ...string) (*resp.Reply, error) {
	key := args[1]
	if args[0] == "EVAL" {
		key = args[3]
	}
	slot := resp.Slot([]byte(key))
	addr, ask := c.slots[slot], false
	for tries := 0; ; tries++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if addr == "" {
			addr = c.seeds[tries%len(c.seeds)]
		}
		conn, err := c.at(ctx, addr)
		if err != nil {
			delete(c.slots, slot)
			addr, ask = "", false
			continue
		}
		if ask {
			if _, err := conn.Do(ctx, "ASKING"); err != nil && !resp.IsServerError(err) {
				return nil, c.lost(addr, slot, err)
			}
		}
		r, err := conn.Do(ctx, args...)
		if err == nil {
			return r, nil
		}
		to, redirected := conn.Redirection(err)
		switch {
		case redirected:
			addr, ask = to.Addr, to.Ask
			if !ask {
				c.slots[slot] = addr
			}
		case resp.IsServerError(err, "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN"):
			addr, ask = "", false
			if err := pause(ctx, tick); err != nil {
				return nil, err
			}
		case resp.IsServerError(err):
			return nil, err
		default:
			return nil, c.lost(addr, slot, err)
		}
	}
}

func (c *client) lost(addr string, slot int, err error) error {
	_ = c.conns[addr].Close()
	delete(c.conns, addr)
	delete(c.slots, slot)
	return fmt.Errorf("%w: %w", errUnsure, err)
}

// writers count in keys of all slots, one key by one writer, until they are stopped.
type writers struct {
	g    *rig
	tag  string
	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	// acked and unsure increments of each key.
	acked, unsure map[string]int64
	err           error
}

const script = `return redis.call('INCR', KEYS[1])`

// write starts n writers, each with so many keys that begin with tag.
func (g *rig) write(n, keys int, tag string) *writers {
	w := &writers{g: g, tag: tag, acked: map[string]int64{}, unsure: map[string]int64{}}
	ctx, stop := context.WithCancel(g.ctx)
	w.stop = stop
	for i := range n {
		w.wg.Go(func() { w.run(ctx, i, keys) })
	}
	g.t.Cleanup(func() { stop(); w.wg.Wait() })
	return w
}

func (w *writers) run(ctx context.Context, id, keys int) {
	c := w.g.client()
	defer c.close()
	acked, unsure := map[string]int64{}, map[string]int64{}
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		maps.Copy(w.acked, acked)
		maps.Copy(w.unsure, unsure)
	}()
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%scount:%d:%d", w.tag, id, i%keys)
		cmd := []string{"INCR", key}
		if i%3 == 0 {
			cmd = []string{"EVAL", script, "1", key}
		}
		r, err := c.do(w.g.ctx, cmd...)
		switch {
		case err == nil:
			if acked[key]++; r.Int < acked[key] || r.Int > acked[key]+unsure[key] {
				w.mu.Lock()
				w.err = errors.Join(w.err, fmt.Errorf("%s is %d after %d increments and %d that may have been", key, r.Int, acked[key], unsure[key]))
				w.mu.Unlock()
				return
			}
		case errors.Is(err, errUnsure):
			unsure[key]++
		default:
			w.mu.Lock()
			w.err = errors.Join(w.err, err)
			w.mu.Unlock()
			return
		}
	}
}

// check stops the writers and looks whether each increment is there once.
func (w *writers) check() {
	w.g.t.Helper()
	w.stop()
	w.wg.Wait()
	if w.err != nil {
		w.g.t.Error(w.err)
	}
	c := w.g.client()
	defer c.close()
	total := int64(0)
	for key, n := range w.acked {
		r, err := c.do(w.g.ctx, "GET", key)
		if err != nil {
			w.g.t.Fatal(err)
		}
		got, _ := strconv.ParseInt(string(r.Bytes), 10, 64)
		if got < n || got > n+w.unsure[key] {
			w.g.t.Errorf("%s is %d after %d increments and %d that may have been", key, got, n, w.unsure[key])
		}
		total += n
	}
	w.g.t.Logf("%d increments of %d keys", total, len(w.acked))
}

// fill puts small keys into all slots and returns what they hold.
func (g *rig) fill(n int) map[string]string {
	g.t.Helper()
	c := g.client()
	defer c.close()
	out := map[string]string{}
	for i := range n {
		k, v := fmt.Sprintf("key:%d", i), fmt.Sprintf("value %d", i)
		if _, err := c.do(g.ctx, "SET", k, v); err != nil {
			g.t.Fatal(err)
		}
		out[k] = v
	}
	return out
}

// holds checks that the keys are there, each at one place alone.
func (g *rig) holds(want map[string]string) {
	g.t.Helper()
	c := g.client()
	defer c.close()
	bad := 0
	for k, v := range want {
		r, err := c.do(g.ctx, "GET", k)
		if err != nil {
			g.t.Fatal(err)
		}
		if string(r.Bytes) != v {
			if bad++; bad < 5 {
				g.t.Errorf("%s holds %q and should hold %q", k, r.Bytes, v)
			}
		}
	}
}

// settled checks that all nodes agree on whose slots are, with no mark left.
func (g *rig) settled(slots cache.Slots, owner *testkit.Server) {
	g.t.Helper()
	id := owner.Must("CLUSTER", "MYID").(string)
	for _, s := range g.All() {
		if s.Pid() == 0 {
			continue
		}
		text, _ := s.Must("CLUSTER", "NODES").(string)
		v, err := readView(text)
		if err != nil {
			g.t.Fatal(err)
		}
		for n := range slots.All() {
			if v.owner[n] != id {
				g.t.Fatalf("for %s slot %d belongs to %q", s.Addr(), n, v.owner[n])
			}
		}
		if len(v.to)+len(v.from) > 0 && v.primary {
			g.t.Fatalf("%s has slots on the move: to %v, from %v", s.Addr(), v.to, v.from)
		}
	}
}
