package slots

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// replyTimeout is how long a node may stand still: one large item takes seconds.
const replyTimeout = 5 * time.Minute

// Node is one node of the cluster and how the administrator reaches it.
type Node struct {
	// ID is its name in the cluster.
	ID string
	At resp.Options
}

// peer is a node that is being talked to.
type peer struct {
	Node
	c *resp.Conn
	// host and port are where other nodes reach it.
	host, port string
	// replicates says that SETSLOT is replicated, and waits for the replicas (Valkey 8).
	replicates bool
	// more connections, for commands that wait.
	more []*peer
}

func dial(ctx context.Context, n Node) (*peer, error) {
	host, port, err := net.SplitHostPort(n.At.Addr)
	if err != nil {
		return nil, err
	}
	n.At.Timeout = replyTimeout
	c, err := resp.Dial(ctx, n.At)
	if err != nil {
		return nil, err
	}
	p := &peer{Node: n, c: c, host: host, port: port}
	server, err := c.Server(ctx)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	p.replicates = server.Engine == "valkey" && server.Major >= 8
	return p, nil
}

func (p *peer) close() error {
	errs := []error{p.c.Close()}
	for _, m := range p.more {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// fan is over how many connections commands are spread that wait for replicas.
const fan = 32

// spread is each for commands whose order does not matter. One that waits for a replica
// holds up those behind it on its connection, so they are given to several; f is called
// for one reply at a time.
func (p *peer) spread(ctx context.Context, cmds [][]string, f func(i int, r *resp.Reply) error) error {
	if !p.replicates || len(cmds) <= fan {
		return p.each(ctx, cmds, f)
	}
	for len(p.more) < fan {
		m, err := dial(ctx, p.Node)
		if err != nil {
			return err
		}
		p.more = append(p.more, m)
	}
	var mu sync.Mutex
	work, ctx := errgroup.WithContext(ctx)
	for k, m := range p.more {
		from, to := k*len(cmds)/fan, (k+1)*len(cmds)/fan
		work.Go(func() error {
			return m.each(ctx, cmds[from:to], func(i int, r *resp.Reply) error {
				mu.Lock()
				defer mu.Unlock()
				return f(from+i, r)
			})
		})
	}
	return work.Wait()
}

// chunk is how many commands are sent at once: the node serves them in one go, before
// it turns to other clients again.
const chunk = 256

// each sends commands and calls f for each reply, which is valid only until f returns.
// An error of f does not keep the replies that are on their way from being read.
func (p *peer) each(ctx context.Context, cmds [][]string, f func(i int, r *resp.Reply) error) error {
	release := p.c.Guard(ctx)
	defer release()
	var buf []byte
	for done := 0; done < len(cmds); {
		n := min(len(cmds)-done, chunk)
		buf = buf[:0]
		for _, cmd := range cmds[done : done+n] {
			buf = resp.AppendCommand(buf, cmd...)
		}
		if err := p.c.Send(buf); err != nil {
			return err
		}
		var first error
		for i := range n {
			r, err := p.c.Receive()
			if err != nil {
				return err
			}
			if err := f(done+i, r); err != nil && first == nil {
				first = err
			}
		}
		if first != nil {
			return first
		}
		done += n
	}
	return nil
}

// all is each for commands that have to succeed.
func (p *peer) all(ctx context.Context, cmds [][]string) error {
	return p.each(ctx, cmds, func(_ int, r *resp.Reply) error { return r.Err() })
}

func (p *peer) do(ctx context.Context, args ...string) error {
	_, err := p.c.Do(ctx, args...)
	return err
}

// view is a cluster as one node sees it.
type view struct {
	self    string
	primary bool
	// bus is the node's own bus port.
	bus string
	// owner of each slot, by id; "" for nobody.
	owner [cache.SlotCount]string
	// to and from are the marks of the node itself: slots that it migrates, and to
	// whom, and such as it imports, and from whom.
	to, from map[int]string
	// epochs of the claims of all nodes, by id, and those who have failed or follow another.
	epochs map[string]uint64
	gone   map[string]bool
	// primaries are all of them, by id.
	primaries map[string]bool
}

var errView = errors.New("the reply of CLUSTER NODES makes no sense")

// look asks a node for its view.
func (p *peer) look(ctx context.Context) (*view, error) {
	r, err := p.c.Do(ctx, "CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	return readView(string(r.Bytes))
}

func readView(text string) (*view, error) {
	v := &view{to: map[int]string{}, from: map[int]string{}, primaries: map[string]bool{}, epochs: map[string]uint64{}, gone: map[string]bool{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			return nil, fmt.Errorf("%w: %q", errView, line)
		}
		id, flags := f[0], strings.Split(f[2], ",")
		myself, primary := false, false
		for _, flag := range flags {
			myself = myself || flag == "myself"
			primary = primary || flag == "master"
		}
		if primary && !strings.Contains(f[2], "handshake") {
			v.primaries[id] = true
		}
		epoch, err := strconv.ParseUint(f[6], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", errView, line)
		}
		v.epochs[id] = epoch
		v.gone[id] = !primary || slices.Contains(flags, "fail") || slices.Contains(flags, "fail?") || slices.Contains(flags, "noaddr")
		if myself {
			v.self, v.primary = id, primary
			_, bus, _ := strings.Cut(f[1], "@")
			v.bus, _, _ = strings.Cut(bus, ",")
		}
		for _, part := range f[8:] {
			if err := v.readSlots(id, part, myself); err != nil {
				return nil, err
			}
		}
	}
	if v.self == "" {
		return nil, errView
	}
	return v, nil
}

// readSlots reads one range of slots, or the mark of one that is on the move:
// [93-<-id] of one that is imported, [77->-id] of one that is migrated.
func (v *view) readSlots(id, part string, myself bool) error {
	if mark, ok := strings.CutPrefix(part, "["); ok {
		if !myself {
			return nil
		}
		into := v.to
		slot, other, ok := strings.Cut(strings.TrimSuffix(mark, "]"), "->-")
		if !ok {
			into = v.from
			slot, other, ok = strings.Cut(strings.TrimSuffix(mark, "]"), "-<-")
		}
		s, err := cache.ParseSlots(slot)
		if err != nil || !ok || s.Count() != 1 {
			return fmt.Errorf("%w: %q", errView, part)
		}
		into[s[0].First] = other
		return nil
	}
	s, err := cache.ParseSlots(part)
	if err != nil {
		return fmt.Errorf("%w: %w", errView, err)
	}
	for n := range s.All() {
		v.owner[n] = id
	}
	return nil
}

// owns tells whether the node itself claims a slot.
func (v *view) owns(slot int) bool { return v.owner[slot] == v.self }

// Owners tells which slots each primary has, by node id, as the node that is asked sees
// it. A primary without slots is among them.
func Owners(ctx context.Context, c *resp.Conn) (map[string]cache.Slots, error) {
	r, err := c.Do(ctx, "CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	v, err := readView(string(r.Bytes))
	if err != nil {
		return nil, err
	}
	lists := map[string][]int{}
	for n, id := range v.owner {
		if id != "" {
			lists[id] = append(lists[id], n)
		}
	}
	out := map[string]cache.Slots{}
	for id := range v.primaries {
		out[id] = cache.SlotsOf(lists[id]...)
	}
	return out, nil
}
