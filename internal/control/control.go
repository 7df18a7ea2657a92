package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// Config is what a Control works with. All fields but Nodes, Unhonoured,
// SpeaksTLS and StrictMemory are needed.
type Config struct {
	DB        *store.DB
	Catalogue Catalogue
	Buckets   Buckets
	Memory    Memory
	Now       func() time.Time
	Addresses Addresses
	// Nodes looks at nodes that run. Without it their memory and their lag are not known.
	Nodes Nodes
	// Unhonoured names the parameters whose values an installed build cannot have.
	// Without it whatever the parameter group family allows passes.
	Unhonoured func(build string, values map[string]string) []string
	// SpeaksTLS tells whether an installed build has TLS. Without it every one is taken to.
	SpeaksTLS func(build string) bool
	// StrictMemory reserves the memory that node types name.
	StrictMemory bool
}

// Addresses says what the platform has to give.
type Addresses struct {
	// Range tells that every address of 127.0.0.0/8 can be bound.
	Range bool
	// Free tells whether nobody holds host and port at present.
	Free func(host string, port int) bool
}

// Control carries out actions. Its methods may be called from any goroutine.
type Control struct {
	Config
	pool pool
}

// New makes a Control. The first one of an installation chooses its addresses.
func New(ctx context.Context, c Config) (*Control, error) {
	if c.DB == nil || c.Catalogue == nil || c.Buckets == nil || c.Memory == nil || c.Now == nil || c.Addresses.Free == nil {
		return nil, errors.New("cannot make a control: a part of its configuration is missing")
	}
	// Two installations on one machine do not know of each other: each begins at
	// a random place of a random range.
	var first records.Pool
	if c.Addresses.Range {
		first.Base = pickBase(rand.IntN)
		first.Next = rand.IntN(first.Size())
	}
	k := &Control{Config: c}
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		p, ok, err := records.Pools.Get(tx, records.PoolKey)
		if err == nil && !ok {
			p = first
			err = records.Pools.Put(tx, records.PoolKey, p)
		}
		k.pool.state = p
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot set up the addresses: %w", err)
	}
	return k, nil
}

// Page chooses, out of all that match and in the order of their names, what is
// to be returned. Nil stands for all.
type Page[T any] func(all []T) ([]T, error)

func (p Page[T]) of(all []T) ([]T, error) {
	if p == nil {
		return all, nil
	}
	return p(all)
}
