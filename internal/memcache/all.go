package memcache

import (
	"context"
	"iter"
	"sync"
)

const (
	// pieceItems and pieceBytes are how much is handed on at a time by those who read several servers.
	pieceItems = keysAtOnce
	pieceBytes = 1 << 20
	// piecesAhead is how many pieces may wait.
	piecesAhead = 4
)

// Owned tells whether an item that was found on a server, by its index, is meant; nil takes all.
type Owned func(server int, key []byte) bool

// ReadAll yields the items of several servers, which are read at the same time and ahead of whoever
// takes them. What a yielded item holds is as Read says.
func ReadAll(ctx context.Context, servers []*Server, owned Owned) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		all := ctx
		ctx, cancel := context.WithCancel(all)
		pieces := make(chan *piece, piecesAhead)
		var readers sync.WaitGroup
		for n, s := range servers {
			readers.Go(func() { readInto(ctx, pieces, n, s, owned) })
		}
		var closer sync.WaitGroup
		closer.Go(func() {
			readers.Wait()
			close(pieces)
		})
		defer closer.Wait()
		defer func() {
			for range pieces { // whoever waits to hand one on may go
			}
		}()
		defer cancel()
		for p := range pieces {
			for i := range p.items {
				if !yield(&p.items[i], nil) {
					return
				}
			}
			if p.err != nil {
				yield(nil, p.err)
				return
			}
		}
		// Readers that could not hand on what they had any more have said nothing.
		if err := all.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// piece is some items, and the memory that they stand in.
type piece struct {
	items []Item
	room  []byte
	err   error
}

// add copies an item. Earlier ones stay where they are when the room moves.
func (p *piece) add(i *Item) {
	k := *i
	at := len(p.room)
	p.room = append(append(p.room, i.Key...), i.Value...)
	b := p.room[at:len(p.room):len(p.room)]
	k.Key, k.Value = b[:len(i.Key):len(i.Key)], b[len(i.Key):]
	p.items = append(p.items, k)
}

func readInto(ctx context.Context, pieces chan<- *piece, n int, s *Server, owned Owned) {
	send := func(p *piece) bool {
		select {
		case pieces <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	p := &piece{}
	for i, err := range Read(ctx, s) {
		if err != nil {
			p.err = err
			break
		}
		if owned != nil && !owned(n, i.Key) {
			continue
		}
		if p.add(i); len(p.items) < pieceItems && len(p.room) < pieceBytes {
			continue
		}
		if !send(p) {
			return
		}
		p = &piece{items: make([]Item, 0, pieceItems), room: make([]byte, 0, len(p.room)+len(p.room)/8)}
	}
	send(p)
}
