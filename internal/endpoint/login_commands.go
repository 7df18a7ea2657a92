package endpoint

import (
	"bytes"
	"math"
	"slices"
	"strconv"
)

const (
	// maxLogin bounds a command with which somebody logs in, in bytes; one that is longer
	// is passed on unseen, and is none that the Door would have taken.
	maxLogin = 8 << 10
	// maxHeader bounds the lines that say how long something is: "$536870912\r\n".
	maxHeader = 32
	// maxLoginArgs: HELLO 3 AUTH user token SETNAME name.
	maxLoginArgs = 12
)

// commands follows what a client sends from command to command, without keeping it. What it
// takes to be a command is exactly what the engine does; where it is not sure any more, as
// after something that the engine ends the connection for, it looks no further and lets
// everything pass. That gives nobody away: no engine takes a token for a password.
type commands struct {
	args   int64 // arguments of the present command that are still to come
	bytes  int64 // bytes of the present argument that are still to come, its end included
	inline bool  // in a line of its own that is no log-in
	multi  bool  // what comes is queued
	lost   bool
}

// loginCommand is an AUTH or a HELLO that names a user; args[user+1] is what is to show that.
type loginCommand struct {
	args [][]byte
	user int
	// queued: it is part of a transaction.
	queued bool
}

// next tells how many of the bytes go on as they are; or, with a loginCommand, how many of
// them are that. 0: more have to come first.
func (c *commands) next(b []byte) (n int, l *loginCommand) {
	for n < len(b) {
		step, found := c.step(b[n:])
		if found != nil && n > 0 {
			return n, nil // what is before it goes first
		}
		if found != nil {
			return step, found
		}
		if step == 0 {
			break
		}
		n += step
	}
	return n, nil
}

// step takes one thing from the beginning of the bytes. A loginCommand is left as it is, and
// found again: nothing is changed by it.
func (c *commands) step(b []byte) (n int, l *loginCommand) {
	switch {
	case c.lost:
		return len(b), nil
	case c.inline:
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return len(b), nil
		}
		c.inline = false
		return end + 1, nil
	case c.bytes > 0:
		n = int(min(c.bytes, int64(len(b))))
		c.bytes -= int64(n)
		return n, nil
	case c.args > 0:
		size, n, ok := header('$', b)
		if !ok || size < 0 || size > math.MaxInt64-2 {
			return c.lose(b)
		}
		if n > 0 {
			c.args, c.bytes = c.args-1, size+2
		}
		return n, nil
	case b[0] != '*':
		return c.line(b)
	}
	return c.array(b)
}

// lose gives up.
func (c *commands) lose(b []byte) (int, *loginCommand) {
	c.lost = true
	return len(b), nil
}

// header reads a line of a mark and a number. n is 0 while it is not whole; ok is false
// when it is none.
func header(mark byte, b []byte) (v int64, n int, ok bool) {
	if b[0] != mark {
		return 0, 0, false
	}
	end := bytes.IndexByte(b[:min(len(b), maxHeader)], '\n')
	if end < 0 {
		return 0, 0, len(b) < maxHeader
	}
	if end < 2 || b[end-1] != '\r' {
		return 0, 0, false
	}
	v, err := strconv.ParseInt(string(b[1:end-1]), 10, 64)
	// The engine takes a number only as it would write it.
	return v, end + 1, err == nil && strconv.FormatInt(v, 10) == string(b[1:end-1])
}

// array begins a command of the usual form.
func (c *commands) array(b []byte) (int, *loginCommand) {
	count, n, ok := header('*', b)
	if !ok || count > math.MaxInt32 {
		return c.lose(b)
	}
	if n == 0 || count <= 0 {
		return n, nil
	}
	name, more, known := argument(b[n:], len("DISCARD"))
	if more {
		return 0, nil
	}
	if !known || !c.follow(name) || count > maxLoginArgs {
		c.args = count
		return n, nil
	}
	args, size, more := arguments(b, n, int(count))
	switch {
	case more && len(b) < maxLogin:
		return 0, nil
	case args == nil || size > maxLogin:
		c.args = count
		return n, nil
	}
	return size, c.login(args)
}

// follow takes note of a command, and tells whether it is one that may be a log-in.
func (c *commands) follow(name []byte) bool {
	switch string(bytes.ToUpper(name)) {
	case "AUTH", "HELLO":
		return true
	case "MULTI":
		c.multi = true
	case "EXEC", "DISCARD", "RESET":
		c.multi = false
	}
	return false
}

// argument reads one argument of at most that many bytes. more: it is not whole yet, and
// may be one; known is false for one that is longer, or none.
func argument(b []byte, most int) (arg []byte, more, known bool) {
	if len(b) == 0 {
		return nil, true, false
	}
	size, n, ok := header('$', b)
	switch {
	case !ok || size < 0 || size > int64(most):
		return nil, false, false
	case n == 0 || len(b) < n+int(size)+2:
		return nil, true, false
	}
	return b[n : n+int(size)], false, true
}

// arguments reads as many from b[n:]. end is behind the last one; args is nil where they
// are not what a log-in has, or with more, not whole.
func arguments(b []byte, n, count int) (args [][]byte, end int, more bool) {
	for range count {
		arg, more, known := argument(b[n:], maxLogin)
		if !known {
			return nil, 0, more
		}
		_, line, _ := header('$', b[n:])
		n += line + len(arg) + 2
		args = append(args, arg)
	}
	return args, n, false
}

// line begins a command that is words in a line.
func (c *commands) line(b []byte) (int, *loginCommand) {
	end := bytes.IndexByte(b, '\n')
	switch {
	case end < 0 && len(b) < maxLogin:
		return 0, nil
	case end < 0:
		c.inline = true
		return len(b), nil
	}
	said := b[:end+1]
	words := bytes.Fields(said)
	// Quotes the engine takes apart by itself: no token needs any.
	if len(words) == 0 || len(said) > maxLogin || bytes.ContainsAny(said, `"'\`) || !c.follow(words[0]) {
		return end + 1, nil
	}
	return end + 1, c.login(words)
}

// login reads AUTH and HELLO; nil where they name no user. Of HELLO it makes one that says
// first who logs in: of one that it finds something wrong with before that, an engine shows
// the password to those who watch, and in its slow log.
func (c *commands) login(args [][]byte) *loginCommand {
	if bytes.EqualFold(args[0], []byte("AUTH")) {
		if len(args) == 3 {
			return &loginCommand{args, 1, c.multi}
		}
		return nil
	}
	var who, name [][]byte
	for i := 2; i < len(args); {
		switch {
		case bytes.EqualFold(args[i], []byte("AUTH")) && i+2 < len(args) && who == nil:
			who = args[i : i+3]
			i += 3
		case bytes.EqualFold(args[i], []byte("SETNAME")) && i+1 < len(args):
			name = args[i : i+2]
			i += 2
		default:
			return nil // the engine knows no such thing
		}
	}
	if who == nil || string(args[1]) != "2" && string(args[1]) != "3" {
		return nil
	}
	return &loginCommand{slices.Concat(args[:2], who, name), 3, c.multi}
}

// with is the same command with another password.
func (l *loginCommand) with(password string) []byte {
	b := append(strconv.AppendInt([]byte{'*'}, int64(len(l.args)), 10), '\r', '\n')
	for i, arg := range l.args {
		if i == l.user+1 {
			arg = []byte(password)
		}
		b = append(strconv.AppendInt(append(b, '$'), int64(len(arg)), 10), '\r', '\n')
		b = append(append(b, arg...), '\r', '\n')
	}
	return b
}
