package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"holdfast.dev/internal/bridge"
	"holdfast.dev/internal/source"
)

// Bridged is a Carrier over a bridge: the target is our replica, and we are one of
// the source. It is the Holder too, for the bridge holds and drains in one.
type Bridged struct {
	b *bridge.Bridge

	mu sync.Mutex
	// ends are where the target's stream ended at some times, oldest first: what the
	// target has acknowledged is as old as the newest of them that it reached.
	ends []streamEnd
	save func(json.RawMessage) error
}

type streamEnd struct {
	at  time.Time
	end int64
}

// NewBridged makes a carrier. make is given what the hold of the bridge's options is to be.
func NewBridged(make func(source.HoldOptions) *bridge.Bridge, maxPause time.Duration) *Bridged {
	c := &Bridged{}
	c.b = make(source.HoldOptions{MaxPause: maxPause, Save: c.keep})
	return c
}

// keep stores what a death of ours would leave changed at the source.
func (c *Bridged) keep(u source.HoldUndo) error {
	c.mu.Lock()
	save := c.save
	c.mu.Unlock()
	undo, err := json.Marshal([]undoOf{{"", u}})
	if err != nil || save == nil {
		return err
	}
	return save(undo)
}

// Road says how the data get there.
func (c *Bridged) Road() string {
	return "as a replica of the source and primary of the target at once"
}

// Run is the bridge's.
func (c *Bridged) Run(ctx context.Context) error {
	err := c.b.Run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ackEvery is how often replicas tell how far they are.
const ackEvery = time.Second

// Status is the bridge's.
func (c *Bridged) Status() Status {
	s := c.b.Status()
	out := Status{Phase: PhaseCatchUp, Keys: s.Keys, Dirty: int64(s.Dirty), Bytes: s.Lag(), Resyncs: len(s.Resyncs)}
	switch {
	case s.Phase == bridge.PhaseConnect || s.Phase == bridge.PhaseFull:
		out.Phase = PhaseFull
	case !s.SourceLink:
		out.Link = "the source does not answer"
	case !s.TargetLink:
		out.Link = "the target does not answer"
	}
	out.Total = out.Keys
	out.Lag = c.lag(s.JournalEnd, s.Acked)
	return out
}

// lag is how old the oldest write is that the target has not acknowledged, less
// what is owed to its acknowledging only now and then.
func (c *Bridged) lag(end, acked int64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if n := len(c.ends); n == 0 || c.ends[n-1].end != end {
		c.ends = append(c.ends, streamEnd{now, end})
	}
	for len(c.ends) > 0 && c.ends[0].end <= acked {
		c.ends = c.ends[1:]
	}
	if len(c.ends) == 0 {
		return 0
	}
	return max(now.Sub(c.ends[0].at)-ackEvery, 0)
}

// State is nothing: the bridge keeps what it needs in its own directory.
func (c *Bridged) State() (json.RawMessage, error) { return json.RawMessage(`{}`), nil }

// Mark is the bridge's.
func (c *Bridged) Mark() (keys []Key, all bool) { return c.b.Remark() }

// Drain has been done by Hold.
func (c *Bridged) Drain(context.Context) error { return nil }

// Finish makes the target a primary.
func (c *Bridged) Finish(ctx context.Context) error { return c.b.Promote(ctx) }

// Hold holds writes and returns when the target has everything.
func (c *Bridged) Hold(ctx context.Context, save func(json.RawMessage) error) (Held, error) {
	c.mu.Lock()
	c.save = save
	c.mu.Unlock()
	if err := c.b.Hold(ctx); err != nil {
		return nil, err
	}
	return &heldBridge{c.b, c.b.Held()}, nil
}

// heldBridge is a bridge whose source takes no writes.
type heldBridge struct {
	b *bridge.Bridge
	h *source.Hold
}

func (h *heldBridge) Lost() <-chan struct{}             { return h.h.Lost() }
func (h *heldBridge) Check(ctx context.Context) error   { return h.h.Check(ctx) }
func (h *heldBridge) Means() string                     { return meansWords[h.h.Means()] }
func (h *heldBridge) Release(ctx context.Context) error { return h.b.Release(ctx) }

// Fence has the source refuse writes for good.
func (h *heldBridge) Fence(ctx context.Context) (string, error) {
	u, err := h.h.Fence(ctx)
	if !u.Any() {
		return "", err
	}
	return undoText("the source", u), err
}
