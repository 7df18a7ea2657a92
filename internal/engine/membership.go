package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// Introduce makes a running node of a cluster know another one that has joined it, by
// its node id: a primary without slots, or a replica. The newcomer stands in the cluster
// of the spec, and knows the others from the file that Start wrote for it. Introduce
// returns once the node has heard of it as of a member; it gives up after half a minute.
func (e *Engines) Introduce(ctx context.Context, spec cache.NodeSpec, id string) error {
	if spec.Cluster == nil {
		return fmt.Errorf("%w: %s is in no cluster", cache.ErrPermanent, spec.Key)
	}
	i := slices.IndexFunc(spec.Cluster.Nodes, func(n cache.ClusterNode) bool { return n.ID == id })
	if i < 0 {
		return fmt.Errorf("%w: node %s is not part of the cluster of %s", cache.ErrPermanent, id, spec.Key)
	}
	if id == spec.Cluster.Self {
		return nil
	}
	if err := e.introduce(ctx, spec.Cluster.Nodes[i], spec); err != nil {
		return fmt.Errorf("%s does not come to know the node at %s: %w", spec.Key, hostPort(spec.Cluster.Nodes[i].Address), err)
	}
	return nil
}

// introduceAgain is after how long a node that has not come to know another one is told
// again: a message may be lost with a connection.
const introduceAgain = 3 * time.Second

func (e *Engines) introduce(ctx context.Context, who cache.ClusterNode, to cache.NodeSpec) error {
	give := time.Now().Add(formedWait)
	var told time.Time
	for wait := firstLook; ; wait = min(2*wait, slowLook) {
		known := false
		err := e.ask(ctx, to, func(c *resp.Conn) error {
			seats, err := askSeats(ctx, c)
			if err != nil {
				return err
			}
			s, ok := seats[who.ID]
			if known = ok && s.heard && !s.is("handshake") && !s.is("noaddr"); known || time.Since(told) < introduceAgain {
				return nil
			}
			told = time.Now()
			_, err = c.Do(ctx, "CLUSTER", "MEET", who.Address.Host, strconv.Itoa(who.Address.Port), strconv.Itoa(who.BusPort))
			return err
		})
		switch {
		case err != nil:
			return err
		case known:
			return nil
		case time.Now().After(give):
			return fmt.Errorf("it has not heard of it in %s", formedWait)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// Forget makes a running node of a cluster forget one that has left it, by its node id.
// That one should not run any more, and the others be told within a minute: one that is
// heard of later is a member again. A primary must have neither slots nor replicas left.
func (e *Engines) Forget(ctx context.Context, spec cache.NodeSpec, id string) error {
	err := e.ask(ctx, spec, func(c *resp.Conn) error {
		seats, err := askSeats(ctx, c)
		if err != nil {
			return err
		}
		if s, ok := seats[id]; !ok || s.is("myself") {
			return nil
		}
		_, err = c.Do(ctx, "CLUSTER", "FORGET", id)
		if err != nil && strings.Contains(err.Error(), "nknown node") {
			return nil // it has heard from another one that it is to forget it
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s cannot forget a node that has left: %w", spec.Key, err)
	}
	return nil
}
