package memcache

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// How often, and for how long, a dump is asked for that another one stands in the way of.
const (
	dumpAgain = 100 * time.Millisecond
	dumpWait  = 30 * time.Second
)

// listKeys writes down every key of a server.
func listKeys(ctx context.Context, s *Server) (*spool, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	list, err := newSpool()
	if err == nil {
		err = errors.Join(dump(ctx, c, list), list.rewind())
	}
	if closed := c.close(); err == nil {
		err = closed
	}
	if err != nil {
		if list != nil {
			err = errors.Join(err, list.close())
		}
		return nil, fmt.Errorf("cannot list the keys of %s: %w", s.Addr, err)
	}
	return list, nil
}

func dump(ctx context.Context, c *conn, list *spool) error {
	line, err := beginDump(ctx, c)
	for err == nil && line != "END" {
		var key []byte
		if key, err = dumpedKey(line); err != nil {
			return err
		}
		if err = list.add(listed{key, dumpedExpiry(line)}); err != nil {
			return err
		}
		if err = c.ready(ctx, usualLine); err != nil {
			return err
		}
		if line, err = c.line(); err != nil {
			return fmt.Errorf("the list ended before its end: %w", err)
		}
	}
	return err
}

// beginDump asks until no other dump is in the way, and returns the first line.
func beginDump(ctx context.Context, c *conn) (string, error) {
	give := time.Now().Add(dumpWait)
	for {
		if err := c.alive(ctx); err != nil {
			return "", err
		}
		if err := c.say("lru_crawler metadump hash\r\n"); err != nil {
			return "", err
		}
		line, err := c.line()
		if err == nil && line == "OK" {
			// What newer servers (1.6.45 is one) say before anything else.
			line, err = c.line()
		}
		if err != nil {
			return "", err
		}
		busy := strings.HasPrefix(line, "BUSY") || strings.HasPrefix(line, "ERROR locked")
		switch {
		case line == "END" || strings.HasPrefix(line, "key="):
			return line, nil
		case !busy:
			return "", fmt.Errorf("%w to lru_crawler metadump: %.200q (is dumping disabled there, by -X or as it is at managed services?)", ErrReply, line)
		case time.Now().After(give):
			return "", fmt.Errorf("another dump has been going on for %s: %s", dumpWait, line)
		}
		t := time.NewTimer(dumpAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return "", ctx.Err()
		}
	}
}

// dumpedExpiry reads when the item of a line of a dump expires, 0 for never or what is no time.
func dumpedExpiry(line string) int64 {
	_, text, _ := strings.Cut(line, " exp=")
	text, _, _ = strings.Cut(text, " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// dumpedKey reads "key=a%20b exp=-1 la=… cas=… fetch=no cls=1 size=64".
func dumpedKey(line string) ([]byte, error) {
	text, ok := strings.CutPrefix(line, "key=")
	if ok {
		text, _, ok = strings.Cut(text, " ")
	}
	if !ok {
		return nil, fmt.Errorf("%w in the list of keys: %.200q", ErrReply, line)
	}
	key, err := url.PathUnescape(text)
	if err != nil || key == "" || len(key) > longestKey {
		return nil, fmt.Errorf("%w in the list of keys: %.200q", ErrReply, line)
	}
	return []byte(key), nil
}
