package main

import (
	"context"
	"time"

	"holdfast.dev/internal/resp"
)

// clockEdge is by how much an expiry may be read wrong where the server tells only
// how long a key has left: its clock may go on between the two questions.
const clockEdge = time.Millisecond

// expiryTolerance is by how much expiries of the ends may differ though they are the
// same: nothing between servers that tell when a key expires (since 7.0) and files.
func expiryTolerance(ctx context.Context, ends ...*end) time.Duration {
	var t time.Duration
	for _, e := range ends {
		if e.server != nil && tellsTimeLeft(ctx, *e.server) {
			t += clockEdge
		}
	}
	return t
}

// tellsTimeLeft is true of servers before 7.0. One that does not say what it is
// will not be read either, which says more.
func tellsTimeLeft(ctx context.Context, opt resp.Options) bool {
	c, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }() // only a question went over it
	srv, err := c.Server(ctx)
	return err == nil && !srv.AtLeast(7, 0)
}
