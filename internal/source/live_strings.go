package source

import (
	"fmt"

	"holdfast.dev/internal/resp"
)

// Strings are read in bulk by GETRANGE of their first bytes. It gives them as they
// are, without a checksum and without an attempt to compress, at the cost of one
// command: unlike DUMP and MGET it never gives more than was asked for, so nobody has
// to ask for the size before. What it leaves open is read again by DUMP, after its
// size was asked for: values of other types, strings that may be longer, and those that
// are empty or gone, which look alike.
//
// An MGET would be a command for many keys, but behind a MEMORY USAGE of each.

const (
	// shortString is what is asked for of a string, in bytes. A batch of strings that
	// are all longer has no more than a few megabytes.
	shortString = 16 << 10
	// manyStrings is the share of strings, of allStrings, from which on every key is
	// taken for one. What is none costs a command in vain, and counts as an error in the
	// server's statistics.
	manyStrings = allStrings / 8 * 7
	// shareKeys keys that are read count as half of what is known of the share.
	shareKeys = 512
)

// liveStrings is how a Live reads strings.
type liveStrings struct {
	// share of strings among the keys that were read lately, of allStrings.
	share int
	// refused: the user may not, or the server cannot.
	refused bool
	// answered counts the commands that the server carried out.
	answered int64
	text     []byte
}

// worth tells whether keys are to be taken for strings.
func (s *liveStrings) worth() bool { return !s.refused && s.share >= manyStrings }

// learn follows how many of n keys were strings.
func (s *liveStrings) learn(strings, n int) {
	s.share += (strings*allStrings/n - s.share) * min(n, shareKeys/8) / shareKeys
}

// shortBytes is how much of a string is asked for.
func (a *liveAttempt) shortBytes() int64 { return min(shortString, a.bigFrom) }

// appendStrings appends the commands that ask for the strings of a group.
func (a *liveAttempt) appendStrings(dst []byte, g *liveGroup) []byte {
	last := a.shortBytes() - 1
	for i := range g.n {
		dst = append(dst, "*4\r\n$8\r\nGETRANGE\r\n"...)
		dst = resp.AppendBulk(dst, g.keys.key(g.from+i))
		dst = append(dst, "$1\r\n0\r\n"...)
		dst = resp.AppendInt(dst, last)
	}
	return dst
}

// takeStrings stores what the server answers to a group of strings, and returns the
// keys that have to be read otherwise, nil if there are none.
func (a *liveAttempt) takeStrings(g *liveGroup, next func() (*resp.Reply, error)) (*liveKeys, error) {
	now, sure, err := a.takeExpiries(g, next)
	if err != nil {
		return nil, err
	}
	var rest *liveKeys
	read := 0
	for i := range g.n {
		key := g.keys.key(g.from + i)
		r, err := next()
		if err != nil {
			return nil, fmt.Errorf("cannot read key %q of database %d: %w", key, g.db, err)
		}
		if !a.takeString(r) {
			if rest == nil {
				rest = &liveKeys{db: g.db, rest: true}
			}
			rest.add(key)
			continue
		}
		left := int64(-1)
		if g.ttl {
			left = a.ttls[i]
		}
		if left == -2 {
			if err := a.gone(g.db, key); err != nil {
				return nil, err
			}
			continue
		}
		read++
		e := &a.entry
		e.DB, e.Key = g.db, key
		a.learn(int64(e.Size()))
		if err := a.keepUntil(e, left, now, sure); err != nil {
			return nil, err
		}
	}
	a.strings.learn(read, g.n)
	return rest, nil
}

// takeString makes the value of the entry of a reply, if that settles it.
func (a *liveAttempt) takeString(r *resp.Reply) bool {
	if err := r.Err(); err != nil {
		if resp.IsServerError(err, "WRONGTYPE") {
			a.strings.answered++
		} else {
			// DUMP will tell what is wrong, if it is more than a right to this command.
			a.strings.refused = true
		}
		return false
	}
	a.strings.answered++
	if n := int64(len(r.Bytes)); n == 0 || n >= a.shortBytes() {
		return false
	}
	takeString(&a.entry, r, &a.strings.text)
	return true
}
