package slots

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
)

// How long another node may take to say what it has, and a successor to hear of it.
const (
	claimWait = time.Second
	learnWait = 5 * time.Second
)

// Learn makes a replica that is about to lead know which of the slots on the move other
// primaries have been given. What it takes for its predecessor's it claims with the newest
// claim of all, and the one who was given a slot meanwhile would delete its keys.
//
// A primary that does not answer is not waited for. If one that does is not heard of in
// time that is an error: then the replica must not lead yet.
func Learn(ctx context.Context, successor Node, primaries []Node, moving cache.Slots) (err error) {
	p, err := dial(ctx, successor)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	work, wctx := errgroup.WithContext(ctx)
	owned := make([][]int, len(primaries))
	for i, o := range primaries {
		work.Go(func() error {
			owned[i] = claims(wctx, o, moving)
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	for i, o := range primaries {
		if err := p.hears(ctx, o, owned[i]); err != nil {
			return err
		}
	}
	return nil
}

// claims are those of some slots that a primary has by its own word.
func claims(ctx context.Context, n Node, among cache.Slots) []int {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	p, err := dial(ctx, n)
	if err != nil {
		return nil
	}
	v, err := p.look(ctx)
	if err = errors.Join(err, p.close()); err != nil || !v.primary {
		return nil
	}
	var out []int
	for slot := range among.All() {
		if v.owns(slot) {
			out = append(out, slot)
		}
	}
	return out
}

// hears waits until a node knows that slots are another one's, which is made to speak to it.
func (p *peer) hears(ctx context.Context, of Node, slots []int) error {
	give := time.Now().Add(learnWait)
	var nudged time.Time
	for wait := tick; len(slots) > 0; wait = min(2*wait, slowTick) {
		v, err := p.look(ctx)
		if err != nil {
			return err
		}
		lags := 0
		for _, n := range slots {
			if v.owner[n] != of.ID {
				lags++
			}
		}
		if lags == 0 {
			return nil
		}
		if time.Now().After(give) {
			return fmt.Errorf("%s does not learn that %d slots belong to %s now", p.At.Addr, lags, of.At.Addr)
		}
		if time.Since(nudged) > slowTick {
			nudged = time.Now()
			speak(ctx, of, p, v)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

// speak makes a node speak to another one at once. If it cannot it is seen that it was
// not heard.
func speak(ctx context.Context, n Node, to *peer, v *view) {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	p, err := dial(ctx, n)
	if err != nil {
		return
	}
	_ = p.do(ctx, append([]string{"CLUSTER", "MEET", to.host, to.port}, to.bus(v)...)...)
	_ = p.close()
}
