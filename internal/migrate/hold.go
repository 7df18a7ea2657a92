package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// Primaries holds the writes of the primaries of a source: one, or one for each shard.
type Primaries struct {
	// List tells the primaries as they are now.
	List func(ctx context.Context) ([]resp.Options, error)
	// MaxPause is for how long a primary goes on holding after a death of ours;
	// 0 means source.DefaultHoldPause.
	MaxPause time.Duration
}

// undoOf is what has to be put back at one primary.
type undoOf struct {
	Addr string          `json:"addr"`
	Undo source.HoldUndo `json:"undo"`
}

// Hold holds all of them, or none.
func (p Primaries) Hold(ctx context.Context, save func(json.RawMessage) error) (Held, error) {
	list, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	h := &heldPrimaries{lost: make(chan struct{}), over: make(chan struct{}), holds: make([]*source.Hold, len(list)), addrs: make([]string, len(list))}
	var g errgroup.Group
	for i, opt := range list {
		h.addrs[i] = opt.Addr
		g.Go(func() (err error) {
			h.holds[i], err = source.HoldWrites(ctx, opt, source.HoldOptions{MaxPause: p.MaxPause, Save: func(u source.HoldUndo) error {
				return h.note(opt.Addr, u, save)
			}})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, errors.Join(err, h.Release(context.WithoutCancel(ctx)))
	}
	h.watch()
	return h, nil
}

// PutBack undoes what a run that was killed while it held writes left behind.
func (p Primaries) PutBack(ctx context.Context, undo json.RawMessage) error {
	if len(undo) == 0 || string(undo) == "null" {
		return nil
	}
	var all []undoOf
	if err := json.Unmarshal(undo, &all); err != nil {
		return fmt.Errorf("cannot read what has to be put back at the source: %w", err)
	}
	list, err := p.List(ctx)
	if err != nil {
		return err
	}
	for _, u := range all {
		for _, opt := range list {
			if opt.Addr == u.Addr || u.Addr == "" && len(list) == 1 {
				err = errors.Join(err, source.UndoHold(ctx, opt, u.Undo))
			}
		}
	}
	return err
}

// heldPrimaries are held ones.
type heldPrimaries struct {
	holds []*source.Hold
	addrs []string
	lost  chan struct{}
	once  sync.Once
	over  chan struct{} // closed when nobody needs to know any more
	wg    sync.WaitGroup

	mu    sync.Mutex
	undos []undoOf
}

// note stores what a death of ours would leave changed, with that of all others.
func (h *heldPrimaries) note(addr string, u source.HoldUndo, save func(json.RawMessage) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.undos = append(h.undos, undoOf{addr, u})
	b, err := json.Marshal(h.undos)
	if err != nil {
		return err
	}
	return save(b)
}

// watch makes the loss of one the loss of all, until end.
func (h *heldPrimaries) watch() {
	for _, one := range h.holds {
		h.wg.Go(func() {
			select {
			case <-one.Lost():
				h.once.Do(func() { close(h.lost) })
			case <-h.over:
			}
		})
	}
}

// end ends watching. It may be called twice.
func (h *heldPrimaries) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.over:
	default:
		close(h.over)
	}
	h.wg.Wait()
}

// Lost is closed when one of them may have taken a write.
func (h *heldPrimaries) Lost() <-chan struct{} { return h.lost }

// Check asks each whether a write got through.
func (h *heldPrimaries) Check(ctx context.Context) error {
	var err error
	for _, one := range h.holds {
		err = errors.Join(err, one.Check(ctx))
	}
	return err
}

// Means says in words how they are held.
func (h *heldPrimaries) Means() string {
	var list []string
	for _, one := range h.holds {
		if w := meansWords[one.Means()]; len(list) == 0 || list[len(list)-1] != w {
			list = append(list, w)
		}
	}
	return strings.Join(list, ", ")
}

var meansWords = map[source.HoldMeans]string{
	source.HoldPause:  "delaying them (CLIENT PAUSE WRITE)",
	source.HoldRefuse: "refusing them (min-replicas-to-write)",
}

// undoText is what lets a fenced server take writes again.
func undoText(addr string, u source.HoldUndo) string {
	return addr + ": " + u.String()
}

// Release lets writes go on everywhere.
func (h *heldPrimaries) Release(ctx context.Context) error {
	h.end()
	var err error
	for _, one := range h.holds {
		if one != nil {
			err = errors.Join(err, one.Release(ctx))
		}
	}
	return err
}

// Fence has all refuse writes for good.
func (h *heldPrimaries) Fence(ctx context.Context) (string, error) {
	h.end()
	var list []string
	var failed error
	for i, one := range h.holds {
		u, err := one.Fence(ctx)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", h.addrs[i], err))
		}
		if u.Any() { // it takes no writes, whatever failed besides
			list = append(list, undoText(h.addrs[i], u))
		}
	}
	return strings.Join(list, "; "), failed
}
