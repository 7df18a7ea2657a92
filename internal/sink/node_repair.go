package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
)

// When something went wrong with a command that may go well next time, nothing new
// is sent before all is well again: everything in flight is answered or given up,
// what failed is sent again, and so on until nothing is left. At most a window is
// in flight, so this takes about a round trip.
//
// A command for many keys is sent again as one for each. Of several commands for one key that were in flight, only the last is ever sent
// again, and only if none after it was confirmed. So no version of a key can come
// after a later one, by whatever ways the commands went. The commands themselves
// may be carried out twice: each sets the whole key.

// pending is a command that has to be sent again.
type pending struct {
	cmd []byte
	key flow.Key
	seq uint64
	// why is what the server said, or how the connection was lost.
	why  error
	lost bool
	// to is where a cluster sends it.
	to *resp.Redirect
}

const (
	redialTimeout = 5 * time.Second
	firstRest     = 10 * time.Millisecond
	longestRest   = time.Second
	// loadingPatience is how long a server may load its data: as long as it says so.
	loadingPatience = 30 * time.Minute
)

// passing are the codes of errors that go by: the first three of clusters, then of
// a server that starts, has lost its primary, became a replica, runs a script,
// misses its replicas.
var passing = []string{"TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING", "READONLY", "BUSY", "NOREPLICAS"}

// judge says what to do about an error reply: send again, or give up.
func (s *Server) judge(n *node, f *flying, err error) ([]pending, error) {
	if f.aux {
		return nil, fmt.Errorf("cannot select database %d of %s: %w", f.db, n.opt, err)
	}
	again := apart(f, pending{seq: f.seq, why: err})
	if f.keys > 1 {
		// Whatever it was, one by one tells which key it is about. A user may lack the right to MSET alone.
		s.single = s.single || !resp.IsServerError(err, passing...)
		return again, nil
	}
	p := &again[0]
	if to, ok := n.conn.Redirection(err); ok && s.routes != nil {
		s.events.Redirected++
		p.to = &to
		return again, nil
	}
	if resp.IsServerError(err, passing...) {
		return again, nil
	}
	return nil, s.failed(p)
}

// failed is the error of a command that is given up.
func (s *Server) failed(p *pending) error {
	return fmt.Errorf("cannot restore key %q of database %d into %s: %w", p.key.Name, p.key.DB, s.addr, p.why)
}

// keyOf is the key in an encoded command: its second argument.
func keyOf(cmd []byte) []byte {
	for range 2 { // the head, and the name's length
		cmd = cmd[bytes.IndexByte(cmd, '\n')+1:]
	}
	cmd = cmd[bytes.IndexByte(cmd, '$')+1:]
	end := bytes.IndexByte(cmd, '\r')
	n, err := strconv.Atoi(string(cmd[:end]))
	if err != nil {
		return nil // we encoded it
	}
	return cmd[end+2 : end+2+n]
}

// repairing is one repair under way.
type repairing struct {
	s      *Server
	failed []pending
	// latest is the last command for each key that was confirmed or failed.
	latest map[flow.Key]uint64
	// unreachable nodes are not tried again in this round.
	unreachable map[*node]error
}

// repair brings everything that is in flight to an end, and so what failed already.
func (s *Server) repair(ctx context.Context, failed []pending) error {
	r := &repairing{s: s, latest: map[flow.Key]uint64{}}
	for _, p := range failed {
		r.fail(p)
	}
	if err := r.collect(ctx); err != nil {
		return err
	}
	since, rest := time.Now(), firstRest
	for r.supersede(); len(r.failed) > 0; r.supersede() {
		before := s.events.Confirmed
		if err := r.again(ctx); err != nil {
			return err
		}
		if s.events.Confirmed > before || len(r.failed) == 0 {
			since, rest = time.Now(), firstRest
			continue
		}
		if err := r.rest(ctx, since, rest); err != nil {
			return err
		}
		rest = min(2*rest, longestRest)
	}
	return nil
}

// again sends what failed once more.
func (r *repairing) again(ctx context.Context) error {
	r.prepare(ctx)
	failed := r.failed
	r.failed, r.unreachable = nil, map[*node]error{}
	for i := range failed {
		if err := r.resend(ctx, &failed[i]); err != nil {
			return err
		}
	}
	return r.collect(ctx)
}

// rest waits before the next round, or ends the patience.
func (r *repairing) rest(ctx context.Context, since time.Time, d time.Duration) error {
	p := &r.failed[0]
	patience := r.s.opt.Patience
	if resp.IsServerError(p.why, "LOADING") {
		patience = max(patience, loadingPatience)
	}
	if took := time.Since(since); took > patience {
		return fmt.Errorf("%w; it was tried for %s, %d commands had been confirmed before", r.s.failed(p), took.Round(time.Second), r.s.events.Confirmed)
	}
	return rest(ctx, d)
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *repairing) failAll(all []pending) {
	for _, p := range all {
		r.fail(p)
	}
}

func (r *repairing) fail(p pending) {
	r.failed = append(r.failed, p)
	r.latest[p.key] = max(r.latest[p.key], p.seq)
}

// supersede forgets the commands that a later one for the same key makes needless.
func (r *repairing) supersede() {
	kept := r.failed[:0]
	for _, p := range r.failed {
		if r.latest[p.key] == p.seq {
			kept = append(kept, p)
		}
	}
	r.failed = kept
}

// collect reads the replies of everything in flight.
func (r *repairing) collect(ctx context.Context) error {
	for _, n := range r.s.nodes {
		if n.conn != nil {
			n.flush()
		}
	}
	for _, n := range r.s.nodes {
		for n.count > 0 {
			if err := r.takeOne(ctx, n); err != nil {
				return err
			}
		}
	}
	r.s.bytes = 0
	return nil
}

func (r *repairing) takeOne(ctx context.Context, n *node) error {
	f, reply, err := n.next()
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return r.lose(n, err)
	}
	if err := reply.Err(); err != nil {
		again, err := r.s.judge(n, &f, err)
		if err != nil {
			return err
		}
		r.failAll(again)
		return nil
	}
	if !f.aux {
		r.s.events.Confirmed += int64(f.keys)
		keysOf(&f, func(key flow.Key) { r.latest[key] = max(r.latest[key], f.seq) })
	}
	n.done(&f)
	return nil
}

// lose gives up a connection: what was not answered may or may not have been carried out.
func (r *repairing) lose(n *node, why error) error {
	for n.count > 0 {
		f := n.pop()
		if f.aux {
			continue
		}
		again := apart(&f, pending{seq: f.seq, why: why, lost: true})
		if r.s.opt.KeepExisting {
			return r.s.failed(&again[0])
		}
		r.failAll(again)
	}
	// The connection is dead; closing it can tell nothing new.
	_ = n.drop()
	return nil
}

// prepare finds out where the failed commands belong now.
func (r *repairing) prepare(ctx context.Context) {
	s, moved := r.s, false
	for i := range r.failed {
		p := &r.failed[i]
		moved = moved || p.lost || p.to != nil && !p.to.Ask || resp.IsServerError(p.why, "CLUSTERDOWN")
		if resp.IsServerError(p.why, "READONLY") && s.one != nil {
			_ = s.one.drop() // behind its address may be another server by now
		}
	}
	if s.routes == nil || !moved {
		return
	}
	// Where nobody answers, the commands fail again, and say why.
	_ = s.refresh(ctx, r.failed)
	// The node's own word counts: others may not have heard of it yet.
	for i := range r.failed {
		if to := r.failed[i].to; to != nil && !to.Ask {
			s.moved(to)
		}
	}
}

// resend puts a failed command on its way once more, or fails it again.
func (r *repairing) resend(ctx context.Context, p *pending) error {
	s := r.s
	n := s.owner(p.key.Name)
	ask := p.to != nil && p.to.Ask
	if ask {
		n = s.nodeAt(p.to.Addr)
	}
	ready, err := r.ready(ctx, n, p)
	if err != nil {
		return err
	}
	if !ready {
		return nil
	}
	s.events.Resent++
	if ask {
		s.bytes += n.end(appendAsking(n.begin(commandFrame)), flying{db: p.key.DB, aux: true})
	}
	s.bytes += n.end(append(n.begin(len(p.cmd)), p.cmd...), flying{db: p.key.DB, seq: p.seq, keys: 1})
	return nil
}

// ready connects to a node if need be and selects the database; false says that
// the command failed once more.
func (r *repairing) ready(ctx context.Context, n *node, p *pending) (bool, error) {
	err := r.unreachable[n]
	switch {
	case err != nil:
	case n.conn != nil && n.known[p.key.DB]:
		r.s.selectDB(n, p.key.DB)
	case n.count > 0: // the next round, when nothing is in flight
		r.fail(*p)
		return false, nil
	default:
		err = r.s.ensure(ctx, n, p.key.DB)
	}
	if n.became == formerUnknown && p.lost {
		r.s.doubt(p.key)
	}
	var refused *dbError
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.As(err, &refused):
		return false, err
	}
	r.unreachable[n] = err
	p.why, p.lost, p.to = err, true, nil
	r.fail(*p)
	return false, nil
}
