package rdb

import (
	"fmt"
	"io"
)

// StreamSkeleton reads the value of a stream and returns that of one with the same
// groups, consumers and pending entries, but without entries, as if none had ever
// been there. Loaded first, with the entries added to it, it gives what no commands
// can: entries that are pending and were deleted, and when a consumer was last seen.
// What a stream knows of itself besides (XSETID) is left for the end.
func StreamSkeleton(typ byte, value io.Reader) ([]byte, error) {
	if ClassOf(typ) != ClassStream {
		return nil, &Error{Msg: fmt.Sprintf("a value of type %d", typ), Err: ErrType}
	}
	c := cursor{src: value, plain: true}
	nodes, err := c.count()
	if err != nil {
		return nil, err
	}
	for range nodes {
		for range 2 { // first id, listpack
			n, err := c.stringHead()
			if err != nil {
				return nil, err
			}
			if err := c.passOver(n); err != nil {
				return nil, err
			}
		}
	}
	if err := c.skipLengths(streamLengths(typ)); err != nil {
		return nil, err
	}
	c.mark = c.pos
	c.limit = maxHeld
	shape := shapes[0][typ]
	if err := c.passEach(shape[len(shape)-1].of); err != nil {
		if err == errLarge { //nolint:errorlint // our own mark, never wrapped
			err = c.fail("groups of more than 512 MiB", ErrType)
		}
		return nil, err
	}
	out := make([]byte, 1+streamLengths(typ), 1+streamLengths(typ)+c.pos-c.mark) // no nodes, and zeros
	out = append(out, c.buf[c.mark:c.pos]...)
	return out, c.atEnd()
}
