package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/proc"
)

// How often a node that is not ready is looked at: at first, and at most.
const (
	firstLook = 2 * time.Millisecond
	slowLook  = 100 * time.Millisecond
)

// errStranger: the address is held by a process that is not the node's.
var errStranger = errors.New("another process is in the node's place")

// AwaitReady returns once the node has loaded its data and, as a replica, has
// everything that its primary had at some moment after the call. It returns at
// once, with what the engine said, when the process has ended or when its log
// says that it will never get there. While the node is only slow it waits as
// long as ctx allows.
func (e *Engines) AwaitReady(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	h, err := e.awaitReady(ctx, spec)
	if err != nil {
		return h, fmt.Errorf("%s is not ready: %w", spec.Key, err)
	}
	return h, nil
}

func (e *Engines) awaitReady(ctx context.Context, spec cache.NodeSpec) (cache.Health, error) {
	n, err := e.node(spec)
	if err != nil {
		return cache.Health{}, err
	}
	ref, err := e.running(ctx, n)
	if err != nil {
		return cache.Health{}, err
	}
	exited := e.cfg.Supervisor.Done(ref)
	// A stranger at the node's address may not answer for long; the end of the
	// process ends the asking.
	asking, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		select {
		case <-exited:
			stop()
		case <-asking.Done():
		}
	})
	w := waiting{e: e, n: n, spec: spec}
	for wait := firstLook; ; wait = min(2*wait, slowLook) {
		h, ready, err := w.look(asking)
		select {
		case <-exited:
			return h, e.epitaph(n, spec)
		default:
		}
		if ready || err != nil {
			return h, err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-exited: // the next round tells
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return h, w.late(ctx)
		}
	}
}

// running is the node's process, known or found.
func (e *Engines) running(ctx context.Context, n *node) (proc.Ref, error) {
	n.mu.Lock()
	ref := n.ref
	n.mu.Unlock()
	if !ref.IsZero() {
		return ref, nil
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return proc.Ref{}, err
	}
	defer unlock()
	if _, ok, err := e.find(ctx, n); err != nil || !ok {
		return proc.Ref{}, errors.Join(ErrNotRunning, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ref, nil
}

// waiting is one AwaitReady.
type waiting struct {
	e    *Engines
	n    *node
	spec cache.NodeSpec
	// goal is the offset that the primary had, once it could be asked.
	goal  int64
	asked bool
	// last is why the node was not ready when last looked at.
	last error
}

// look finds out how far the node is. An error ends the waiting.
func (w *waiting) look(ctx context.Context) (cache.Health, bool, error) {
	in, err := w.e.info(ctx, w.spec)
	if err != nil {
		w.because(ctx, err)
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrBusy) || errors.Is(err, ErrNoAnswer) || ctx.Err() != nil {
			return cache.Health{}, false, nil
		}
		if errors.Is(err, errStranger) || errors.Is(err, ErrLogin) {
			// Unless the node's own process is about to end because of it.
			return cache.Health{}, false, w.stranger(err)
		}
		return cache.Health{}, false, err
	}
	h, err := in.health()
	if err != nil {
		return h, false, err
	}
	if h.Loading {
		w.last = errors.New("it is reading its data")
		return h, false, nil
	}
	if w.spec.Primary.IsZero() && h.Role == cache.RolePrimary {
		return h, true, w.e.tryOut(ctx, w.n, w.spec)
	}
	if in.follows() != w.spec.Primary {
		soon, err := w.e.settling(ctx, w.spec)
		if err != nil || soon {
			w.because(ctx, errors.Join(err, errors.New("it has not turned to its primary yet")))
			return h, false, nil
		}
		return h, false, fmt.Errorf("%w: it was told otherwise: it is %s and should be %s", cache.ErrAmbiguous, role(in.follows()), role(w.spec.Primary))
	}
	return w.replica(ctx, h)
}

// because notes why the node is not ready. That a look was cut short by the end of the
// waiting is no reason, and does not hide the one that was seen before.
func (w *waiting) because(ctx context.Context, err error) {
	if ctx.Err() == nil {
		w.last = err
	}
}

// stranger waits a moment for the node's process to end, as one does that finds
// its address taken; that its own words are better is for the caller to see.
func (w *waiting) stranger(err error) error {
	ref, rerr := w.e.running(context.Background(), w.n)
	if rerr != nil {
		return err
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-w.e.cfg.Supervisor.Done(ref):
		return w.e.epitaph(w.n, w.spec)
	case <-t.C:
		return err
	}
}

// replica tells whether a replica is in step.
func (w *waiting) replica(ctx context.Context, h cache.Health) (cache.Health, bool, error) {
	if !h.LinkUp {
		w.last = errors.New("it does not have its primary's data yet")
		said, err := w.n.said()
		if err == nil && said.final(w.spec) {
			err = fmt.Errorf("%w: it cannot take its primary's data: %s", cache.ErrPermanent, said.quoted(w.spec.Secret))
		}
		return h, false, err
	}
	if !w.asked {
		goal, fed, err := w.askPrimary(ctx)
		if err != nil {
			w.because(ctx, fmt.Errorf("its primary cannot be asked: %w", err))
			return h, false, nil
		}
		if !fed {
			// For up to a tenth of a second after a replica has loaded its data the
			// primary does not send it writes yet, though it acknowledges them.
			w.last = errors.New("its primary does not send it writes yet")
			return h, false, nil
		}
		w.goal, w.asked = goal, true
	}
	if h.Offset < w.goal {
		w.last = fmt.Errorf("it is %d bytes behind its primary", w.goal-h.Offset)
		return h, false, nil
	}
	return h, true, w.e.tryOut(ctx, w.n, w.spec)
}

func role(primary cache.Address) string {
	if primary.IsZero() {
		return "a primary"
	}
	return "a replica of " + hostPort(primary)
}

// inStep is the channel of the one message that shows a replica to be in step.
const inStep = "__holdfast:in-step"

// askPrimary asks the primary, whose administrator has the same password, how
// far it is and whether it sends its writes to this replica. A primary calls a
// replica online up to a second before it does: not until the replica's next
// acknowledgement, and what it acknowledges to its clients meanwhile dies with it.
// Nothing that it tells shows this. So it is given something to send, which has
// to arrive.
func (w *waiting) askPrimary(ctx context.Context) (offset int64, fed bool, err error) {
	t := w.spec.Transit
	c, _, err := reach(ctx, w.e.admins(w.spec.Primary, w.spec.Secret, t.Mode, t.PrimaryTold))
	if err != nil {
		return 0, false, classify(err)
	}
	in, err := askInfo(ctx, c)
	if err == nil && in.feeds(w.spec.Address) {
		if _, err = c.Do(ctx, somethingToSend(w.spec)...); err == nil {
			in, err = askInfo(ctx, c)
		}
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return 0, false, classify(err)
	}
	offset, err = in.number("master_repl_offset")
	return offset, in.feeds(w.spec.Address), err
}

// somethingToSend is a command that changes nothing and that a primary tells its
// replicas. In cluster mode messages take another way; there the replicas are asked
// to acknowledge what they have.
func somethingToSend(spec cache.NodeSpec) []string {
	if spec.Cluster != nil {
		return []string{"WAIT", "1000", "1"}
	}
	return []string{"PUBLISH", inStep, ""}
}

// late is the error of a node that took too long.
func (w *waiting) late(ctx context.Context) error {
	err := context.Cause(ctx)
	if w.last != nil && !errors.Is(w.last, err) {
		err = fmt.Errorf("%w (%w)", err, w.last)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	said, rerr := w.n.said()
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	return fmt.Errorf("%w; %s", err, said.quoted(w.spec.Secret))
}

// epitaph says why the node's process has ended.
func (e *Engines) epitaph(n *node, spec cache.NodeSpec) error {
	said, err := n.said()
	if err != nil {
		return errors.Join(ErrNotRunning, err)
	}
	how := "its process has ended"
	exit, known := e.cfg.Supervisor.LastExit(n.id)
	if known {
		how = "its process " + exit.String()
	}
	err = fmt.Errorf("%w: %s; %s", ErrNotRunning, how, said.quoted(spec.Secret))
	// An engine that gave up by itself before it had read its seed will not
	// do better next time. One that was killed might.
	gaveUp := known && exit.Known && exit.Signal != syscall.SIGKILL && exit.Signal != syscall.SIGTERM
	if said.final(spec) || spec.Seeded && gaveUp && len(said) > 0 && !said.loaded() && !addressTaken(said) {
		return fmt.Errorf("%w: %w", cache.ErrPermanent, err)
	}
	return err
}
