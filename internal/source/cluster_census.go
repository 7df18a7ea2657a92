package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/resp"
)

// census is what all primaries say of themselves. What nodes say of each other may
// be late.
type census struct {
	// owner is who takes a slot for its own: nil if none does, or two do.
	owner [resp.Slots]*owner
	// open slots are on their way.
	open map[int]bool
}

type owner struct {
	id, addr string
	// epoch rises when the node takes slots from another one; so a slot that went
	// and came back is told from one that stayed.
	epoch int64
}

// census asks all primaries, until every slot has an owner or is on its way.
func (c *Cluster) census(ctx context.Context) (*census, error) {
	since, d := time.Now(), clusterRest
	for {
		n, err := c.ask(ctx)
		if err == nil {
			err = n.complete()
		}
		switch {
		case err == nil:
			return n, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case c.isClosed():
			return nil, errClosed
		case time.Since(since) > c.patience, resp.IsServerError(err, "NOPERM", "NOAUTH", "WRONGPASS"):
			return nil, fmt.Errorf("cannot tell who has the slots of the cluster of %s: %w", c.opt, err)
		}
		if err := waitFor(ctx, d); err != nil {
			return nil, err
		}
		d = min(2*d, clusterLongRest)
	}
}

func (c *Cluster) ask(ctx context.Context) (*census, error) {
	c.forget()
	t, err := c.topology(ctx)
	if err != nil {
		return nil, err
	}
	n := &census{open: map[int]bool{}}
	for i := range t.Shards {
		if err := n.add(ctx, c.opt.At(t.Shards[i].Primary.Addr)); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// add asks one primary.
func (n *census) add(ctx context.Context, opt resp.Options) error {
	conn, err := resp.Dial(ctx, opt)
	if err != nil {
		return err
	}
	defer conn.Close()
	claims, err := conn.Claims(ctx)
	if err != nil {
		return err
	}
	if !claims.Primary {
		return fmt.Errorf("%s is a replica now", opt)
	}
	own := &owner{id: claims.ID, addr: opt.Addr, epoch: claims.Epoch}
	for _, r := range claims.Slots {
		for slot := r.First; slot <= r.Last; slot++ {
			if n.owner[slot] != nil {
				n.open[slot] = true // one of them has not heard of the other yet
			}
			n.owner[slot] = own
		}
	}
	for slot := range claims.Leaving {
		n.open[slot] = true
	}
	for slot := range claims.Arriving {
		n.open[slot] = true
	}
	return nil
}

var errUncovered = errors.New("not all slots are served; see redis-cli --cluster check")

// complete tells whether all slots are accounted for.
func (n *census) complete() error {
	missing := 0
	for slot := range n.owner {
		if n.owner[slot] == nil {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d of %d have no owner", errUncovered, missing, resp.Slots)
	}
	return nil
}

// unsteady lists the slots of which it cannot be said that they stayed where they
// were between two censuses, and those of lost nodes.
func (n *census) unsteady(later *census, lost map[string]bool) []int {
	var out []int
	for slot := range n.owner {
		if !n.steady(later, slot) || lost[n.owner[slot].addr] {
			out = append(out, slot)
		}
	}
	return out
}

func (n *census) steady(later *census, slot int) bool {
	return *n.owner[slot] == *later.owner[slot] && !n.open[slot] && !later.open[slot]
}
