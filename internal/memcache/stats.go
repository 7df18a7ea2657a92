package memcache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Stats are a few figures of a server.
type Stats struct {
	Version string
	// Items that it holds, and Evictions of those that had not expired.
	Items, Evictions int64
	// Hits and Misses of clients' reads.
	Hits, Misses int64
}

// ReadStats asks a server for its figures.
func ReadStats(ctx context.Context, s *Server) (*Stats, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	out, err := c.stats(ctx)
	if err = errors.Join(err, c.close()); err != nil {
		return nil, fmt.Errorf("cannot read the statistics of %s: %w", s.Addr, err)
	}
	return out, nil
}

func (c *conn) stats(ctx context.Context) (*Stats, error) {
	if err := c.alive(ctx); err != nil {
		return nil, err
	}
	if err := c.say("stats\r\n"); err != nil {
		return nil, err
	}
	out := &Stats{}
	numbers := map[string]*int64{"curr_items": &out.Items, "evictions": &out.Evictions, "get_hits": &out.Hits, "get_misses": &out.Misses}
	const most = 4096 // lines, where servers send some hundred
	for range most {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		if line == "END" {
			return out, nil
		}
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "STAT" {
			return nil, fmt.Errorf("%w to stats: %.200q", ErrReply, line)
		}
		if f[1] == "version" && len(f) > 2 {
			out.Version = f[2]
		}
		if n := numbers[f[1]]; n != nil && len(f) > 2 {
			if *n, err = strconv.ParseInt(f[2], 10, 64); err != nil {
				return nil, fmt.Errorf("%w to stats: %.200q", ErrReply, line)
			}
		}
	}
	return nil, fmt.Errorf("%w to stats: more than %d lines", ErrReply, most)
}
