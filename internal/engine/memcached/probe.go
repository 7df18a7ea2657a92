package memcached

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// answerWait bounds one question to a node.
const answerWait = 5 * time.Second

// ping tells whether the node answers anything.
func (n *Nodes) ping(ctx context.Context, s cache.MemcachedSpec) error {
	_, err := n.ask(ctx, s, "version\r\n", func(string) bool { return true })
	return err
}

// Stats are memcached's own counters, by its own names.
func (n *Nodes) Stats(ctx context.Context, s cache.MemcachedSpec) (map[string]string, error) {
	lines, err := n.ask(ctx, s, "stats\r\n", func(line string) bool { return !strings.HasPrefix(line, "STAT ") })
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for its counters: %w", s.Key(), err)
	}
	out := make(map[string]string, len(lines))
	for _, l := range lines {
		if f := strings.SplitN(l, " ", 3); len(f) == 3 && f[0] == "STAT" {
			out[f[1]] = f[2]
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cannot ask %s for its counters: it says %q", s.Key(), strings.Join(lines, " "))
	}
	return out, nil
}

// ask sends a question on a connection of its own and reads lines up to the last one.
func (n *Nodes) ask(ctx context.Context, s cache.MemcachedSpec, question string, last func(line string) bool) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	c, err := n.Dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write([]byte(question)); err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	var lines []string
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
		if last(lines[len(lines)-1]) {
			return lines, nil
		}
	}
}

// longestSocket is how long the path of a socket may be.
const longestSocket = 100

// dialUnix connects to a socket whose path may be longer than the kernel takes one.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	if len(path) <= longestSocket {
		return d.DialContext(ctx, "unix", path)
	}
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return d.DialContext(ctx, "unix", short)
}
