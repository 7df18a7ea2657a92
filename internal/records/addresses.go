package records

import (
	"fmt"
	"net"
	"strconv"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// AddressClaim is one address and who holds it.
type AddressClaim struct {
	Address cache.Address
	// Owner as GroupOwner and ClusterOwner make it.
	Owner string
}

// Pool says which addresses there are to give.
type Pool struct {
	// Base is the first two numbers of the addresses, "127.83": every node and
	// endpoint has a host of its own. Empty where the platform has no such range:
	// then all share 127.0.0.1 and each has a port of its own.
	Base string
	// Next is the place in the pool from which the next address is taken.
	Next int
}

// soloHost is the one host where there is no range.
const soloHost = "127.0.0.1"

// Bounds of the pool: with a base, hosts Base.0.1 to Base.255.254 without those
// that end in 0 or 255; without one, ports.
const (
	hostsPerNet = 254
	hostsInPool = 256 * hostsPerNet
	firstPort   = 16379
	lastPort    = 32767 // below the ports that systems give to outgoing connections
)

// Size is how many addresses the pool has.
func (p Pool) Size() int {
	if p.Base == "" {
		return lastPort - firstPort + 1
	}
	return hostsInPool
}

// At is the address at a place of the pool, taken around its end. port is the
// one that was asked for, which a pool without a base cannot give.
func (p Pool) At(place, port int) cache.Address {
	place %= p.Size()
	if p.Base == "" {
		return cache.Address{Host: soloHost, Port: firstPort + place}
	}
	return cache.Address{Host: fmt.Sprintf("%s.%d.%d", p.Base, place/hostsPerNet, place%hostsPerNet+1), Port: port}
}

// addressKey is the address itself, so no two records can hold one.
func addressKey(a cache.Address) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Claimed tells whether an address is not to be given: somebody holds it, or, in
// a pool of hosts, holds another port of the same host.
func (p Pool) Claimed(tx *store.Tx, a cache.Address) (bool, error) {
	if p.Base == "" {
		_, taken, err := Addresses.Get(tx, addressKey(a))
		return taken, err
	}
	n, err := Addresses.Count(tx, a.Host+":")
	return n > 0, err
}

// ClaimAddress gives an address to an owner and tells whether it was free. It
// belongs into the Update that writes the owner's record.
func ClaimAddress(tx *store.Tx, p Pool, a cache.Address, owner string) (bool, error) {
	taken, err := p.Claimed(tx, a)
	if err != nil || taken {
		return false, err
	}
	return true, Addresses.Put(tx, addressKey(a), AddressClaim{Address: a, Owner: owner})
}

// ReleaseAddresses lets go of everything that the owner holds.
func ReleaseAddresses(tx *store.Tx, owner string) error {
	for claim, err := range Addresses.Peek(tx, "") {
		if err != nil {
			return err
		}
		if claim.Owner != owner {
			continue
		}
		if err := Addresses.Delete(tx, addressKey(claim.Address)); err != nil {
			return err
		}
	}
	return nil
}
