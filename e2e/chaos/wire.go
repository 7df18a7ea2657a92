package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// The clients speak the wire by themselves: what they saw must not depend on the
// code that is tested.

// answered is an error reply: the engine has refused.
type answered string

func (a answered) Error() string { return string(a) }

// wire is one connection to an engine.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	// run is the engine's run id.
	run string
}

// clientHost is where clients come from: they can be told from the service, which
// comes from 127.0.0.1, and are not cut off with it.
const clientHost = "127.0.0.2"

const infoRun = "run_id"

// dial connects and asks who is there.
func dial(ctx context.Context, addr string, timeout time.Duration) (*wire, error) {
	d := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientHost)}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: conn, in: bufio.NewReader(conn)}
	replies, err := w.do(timeout, []string{"INFO", "server"})
	if err == nil {
		w.run = field(text(replies[0]), infoRun)
		if w.run == "" {
			err = fmt.Errorf("%s does not tell its run id: %v", addr, replies[0])
		}
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// close hangs up; there is nothing to be lost by it.
func (w *wire) close() { w.conn.Close() }

// do sends commands at once and returns as many replies. Error replies are among
// them; an error is the connection's.
func (w *wire) do(timeout time.Duration, cmds ...[]string) ([]any, error) {
	if err := w.send(timeout, cmds...); err != nil {
		return nil, err
	}
	return w.receive(len(cmds))
}

func (w *wire) send(timeout time.Duration, cmds ...[]string) error {
	if err := w.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	var b []byte
	for _, c := range cmds {
		b = fmt.Appendf(b, "*%d\r\n", len(c))
		for _, a := range c {
			b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	_, err := w.conn.Write(b)
	return err
}

func (w *wire) receive(n int) ([]any, error) {
	var out []any
	for range n {
		r, err := w.reply()
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// reply is a string, int64, nil, []any or answered.
func (w *wire) reply() (any, error) {
	line, err := w.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("an empty line came for a reply")
	}
	rest := line[1:]
	switch line[0] {
	case '+':
		return rest, nil
	case '-':
		return answered(rest), nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("no reply begins with %q", line)
	}
	switch {
	case line[0] == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case line[0] == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(w.in, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case line[0] == '*':
		out := make([]any, n)
		for i := range out {
			if out[i], err = w.reply(); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("no reply begins with %q", line)
}

// text is a reply as a string; "" for what is none.
func text(r any) string {
	s, _ := r.(string)
	return s
}

func texts(r any) []string {
	all, _ := r.([]any)
	var out []string
	for _, e := range all {
		out = append(out, text(e))
	}
	return out
}

// field is one of INFO's.
func field(info, name string) string {
	for line := range strings.SplitSeq(info, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && k == name {
			return v
		}
	}
	return ""
}

// ask is one command on a connection of its own; an error reply is an error.
func ask(ctx context.Context, addr string, timeout time.Duration, cmds ...[]string) (any, error) {
	w, err := dial(ctx, addr, timeout)
	if err != nil {
		return nil, err
	}
	defer w.close()
	replies, err := w.do(timeout, cmds...)
	if err != nil {
		return nil, err
	}
	last := replies[len(replies)-1]
	if refusal, ok := last.(answered); ok {
		return nil, refusal
	}
	return last, nil
}
