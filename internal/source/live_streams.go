package source

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strconv"

	"holdfast.dev/internal/resp"
)

// Commands on consumer groups change streams and tell nobody, so every stream is
// read in the cut if any such command was called since the beginning. Streams
// that are large are spared that by a mark: what XINFO says of the stream, its
// groups and their consumers, taken just before the stream was read. If XINFO
// says the same in the cut, and no consumer was active since, the stream is as it
// was read:
//
//   - XREADGROUP, XCLAIM and XAUTOCLAIM make a consumer active;
//   - XACK without these lowers the number of pending entries;
//   - XSETID and XGROUP change what XINFO says, or nothing.
const (
	// markFrom bytes of value a stream is marked; below, reading it costs no more.
	markFrom = 16 << 10
	// markPasses are made at most to have marks of streams that change.
	markPasses = 3
	// markSlack milliseconds are allowed for clocks that are read one after the other.
	markSlack = 2
)

// streamMark is what XINFO said at a time, in Unix milliseconds of the server.
type streamMark struct {
	print  uint64
	at     int64
	groups []string
}

// mark brings the marks of large streams up to date, and reads the streams whose
// marks changed.
func (a *liveAttempt) mark(ctx context.Context) error {
	if !a.canMark || !a.canTime {
		return nil
	}
	now, err := a.stats(ctx)
	if err != nil || now.groups == a.begin.groups && !a.s.hooks.noSkip {
		return err
	}
	for range markPasses {
		var moved []touched
		var bytes int64
		for id, size := range a.streams {
			if size < markFrom {
				continue
			}
			m, err := a.lookAt(ctx, id)
			if err != nil {
				return err
			}
			old := a.marks[id]
			if m == nil || old != nil && old.print == m.print && m.idle >= m.at-old.at+markSlack {
				continue
			}
			a.marks[id] = &m.streamMark
			moved = append(moved, id)
			bytes += size
		}
		for _, id := range moved { // one by one, for they are large
			if err := a.readCut(a.cutOf([]touched{id})); err != nil {
				return err
			}
			if err := a.tick(); err != nil {
				return err
			}
		}
		if bytes < liveBig {
			return nil
		}
	}
	return nil
}

// look is a mark, and for how many milliseconds all consumers have been idle.
type look struct {
	streamMark
	idle int64
}

// lookAt looks at a stream; nil means that it does not stand still or is gone.
func (a *liveAttempt) lookAt(ctx context.Context, id touched) (*look, error) {
	if err := a.selectDB(ctx, id.db); err != nil {
		return nil, err
	}
	r, err := a.call(ctx, "TIME")
	if err != nil {
		return nil, err
	}
	m := &look{}
	if m.at, err = millis(r); err != nil {
		return nil, err
	}
	r, err = a.call(ctx, "XINFO", "GROUPS", id.key)
	if resp.IsServerError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range r.Elems {
		g := r.Elems[i].Elems
		for j := 0; j+1 < len(g); j += 2 {
			if string(g[j].Bytes) == "name" {
				m.groups = append(m.groups, string(g[j+1].Bytes))
			}
		}
	}
	cmds, n := appendMark(a.pipe.Begin(), id.key, m.groups)
	a.pipe.EndMany(cmds, n)
	ok, err := a.takeMark(m, n, a.next)
	if err != nil || !ok {
		return nil, err
	}
	return m, nil
}

// appendMark appends the commands that look at a stream.
func appendMark(dst []byte, key string, groups []string) ([]byte, int) {
	dst = resp.AppendCommand(dst, "XINFO", "STREAM", key)
	dst = resp.AppendCommand(dst, "XINFO", "GROUPS", key)
	for _, g := range groups {
		dst = resp.AppendCommand(dst, "XINFO", "CONSUMERS", key, g)
	}
	return dst, 2 + len(groups)
}

// takeMark takes n replies; false means that one was an error.
func (a *liveAttempt) takeMark(m *look, n int, next func() (*resp.Reply, error)) (bool, error) {
	var h maphash.Hash
	h.SetSeed(a.seed)
	m.idle = 1 << 62
	ok := true
	for i := range n {
		r, err := next()
		if err != nil {
			return false, err
		}
		switch {
		case r.Err() != nil:
			ok = false
		case i < 2:
			hashReply(&h, r)
		default:
			for j := range r.Elems {
				hashConsumer(&h, r.Elems[j].Elems, m)
			}
		}
	}
	m.print = h.Sum64()
	return ok, nil
}

// hashConsumer adds what stands still of a consumer, and notes how long it has been idle.
func hashConsumer(h *maphash.Hash, pairs []resp.Reply, m *look) {
	for i := 0; i+1 < len(pairs); i += 2 {
		switch string(pairs[i].Bytes) {
		case "name", "pending":
			hashReply(h, &pairs[i+1])
		case "idle":
			m.idle = min(m.idle, pairs[i+1].Int)
		}
	}
}

func hashReply(h *maphash.Hash, r *resp.Reply) {
	// Writing to a hash never fails.
	_ = h.WriteByte(byte(r.Kind))
	_, _ = h.WriteString(strconv.FormatInt(r.Int, 36))
	b, err := text(r)
	if err != nil {
		b = strconv.AppendInt(nil, rand.Int64(), 36) // like nothing else: the stream is read again
	}
	_, _ = h.WriteString(strconv.Itoa(len(b)))
	_, _ = h.Write(b)
	for i := range r.Elems {
		hashReply(h, &r.Elems[i])
	}
}

// appendMarks appends the commands that look at the marked streams of a cut.
func (a *liveAttempt) appendMarks(dst []byte, c *liveCut) ([]byte, int) {
	if len(c.marked) == 0 {
		return dst, 0
	}
	slices.SortFunc(c.marked, func(x, y touched) int { return x.db - y.db })
	dst = resp.AppendCommand(dst, "TIME")
	cmds, db := 1, -1
	for _, id := range c.marked {
		if id.db != db {
			db = id.db
			dst = resp.AppendCommand(dst, "SELECT", strconv.Itoa(db))
			cmds++
		}
		var n int
		dst, n = appendMark(dst, id.key, a.marks[id].groups)
		cmds += n
	}
	return dst, cmds
}

// takeMarks notes in the cut which marked streams have changed.
func (a *liveAttempt) takeMarks(c *liveCut, next func() (*resp.Reply, error)) error {
	if len(c.marked) == 0 {
		return nil
	}
	now, err := a.takeTime(next)
	if err != nil {
		return err
	}
	db := -1
	for _, id := range c.marked {
		if id.db != db {
			db = id.db
			if _, err := good(next); err != nil {
				return fmt.Errorf("cannot select database %d: %w", db, err)
			}
		}
		old := a.marks[id]
		var m look
		ok, err := a.takeMark(&m, 2+len(old.groups), next)
		if err != nil {
			return err
		}
		if !ok || m.print != old.print || m.idle < now-old.at+markSlack {
			c.moved = append(c.moved, id)
		}
	}
	return nil
}
