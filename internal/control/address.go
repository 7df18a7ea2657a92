package control

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// pool hands out addresses. What it has given lately is remembered by its place
// alone: two creations at once never get the same candidates.
type pool struct {
	mu    sync.Mutex
	state records.Pool
}

// pickBase draws the first two numbers of the addresses. 127.53 belongs to local
// name servers, and the low ones to people who type them.
func pickBase(draw func(n int) int) string {
	const first, last, resolver = 16, 250, 53
	a := first + draw(last-first) // one fewer than there are: the resolver's is left out
	if a >= resolver {
		a++
	}
	return fmt.Sprintf("127.%d", a)
}

// errLostAddress: a candidate was claimed after it had been looked at.
var errLostAddress = errors.New("an address was taken meanwhile")

// maxHeld bounds how many candidates may turn out to be held by somebody else.
// With one host each, a program that listens on all addresses holds every one.
const maxHeld = 512

// candidates finds n addresses that nobody claims and nobody holds, and the place
// from which the pool goes on.
func (c *Control) candidates(ctx context.Context, n, port int) ([]cache.Address, int, error) {
	p := &c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []cache.Address
	held := 0
	err := c.DB.View(ctx, func(tx *store.Tx) error {
		for tried := 0; len(out) < n && held < maxHeld && tried < p.state.Size(); tried++ {
			a := p.state.At(p.state.Next, port)
			p.state.Next = (p.state.Next + 1) % p.state.Size()
			claimed, err := p.state.Claimed(tx, a)
			if err != nil {
				return err
			}
			switch {
			case claimed:
			case c.Addresses.Free(a.Host, a.Port):
				out = append(out, a)
			default:
				held++
			}
		}
		return nil
	})
	switch {
	case err == nil && held == maxHeld && p.state.Base != "":
		err = cache.Faultf(codeInsufficientCapacity,
			"Another program of this machine listens on port %d of every address that was tried. Choose another Port, or stop that program.", port)
	case err == nil && len(out) < n:
		err = cache.Faultf(codeInsufficientCapacity, "No address is left for a new node.")
	}
	return out, p.state.Next, err
}

// claim gives the addresses to their owners and moves the pool on.
func (c *Control) claim(tx *store.Tx, next int, claims []records.AddressClaim) error {
	p, _, err := records.Pools.Get(tx, records.PoolKey)
	if err != nil {
		return err
	}
	for _, k := range claims {
		free, err := records.ClaimAddress(tx, p, k.Address, k.Owner)
		if err != nil {
			return err
		}
		if !free {
			return errLostAddress
		}
	}
	// Of two creations the one that drew first may be written last.
	if ahead := (next - p.Next + p.Size()) % p.Size(); ahead == 0 || ahead > p.Size()/2 {
		return nil
	}
	p.Next = next
	return records.Pools.Put(tx, records.PoolKey, p)
}

// claimAttempts bounds how often a creation looks for addresses anew.
const claimAttempts = 8

// withAddresses runs an Update that needs n new addresses, again with others if
// one of them is lost in between.
func (c *Control) withAddresses(ctx context.Context, n, port int, fn func(tx *store.Tx, at []cache.Address, next int) error) error {
	var err error
	for range claimAttempts {
		at, next, failed := c.candidates(ctx, n, port)
		if failed != nil {
			return failed
		}
		err = c.DB.Update(ctx, func(tx *store.Tx) error { return fn(tx, at, next) })
		if !errors.Is(err, errLostAddress) {
			return err
		}
	}
	return fmt.Errorf("cannot claim addresses: %w", err)
}
