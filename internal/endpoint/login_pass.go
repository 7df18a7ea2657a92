package endpoint

import (
	"context"
	"errors"
	"io"
	"sync"
)

// idleSize is what a connection with nothing under way has for the next bytes: 20,000
// idle ones are not to cost gigabytes.
const idleSize = 1 << 10

// wide are the buffers of connections on which much is under way.
var wide = sync.Pool{New: func() any { return new([maxLogin * 2]byte) }}

// lane is the buffer of one direction: small, until bytes come faster than it takes them.
type lane struct {
	small [idleSize]byte
	large *[maxLogin * 2]byte
	held  int // bytes at its beginning that are not passed on yet
}

func (l *lane) bytes() []byte {
	if l.large != nil {
		return l.large[:]
	}
	return l.small[:]
}

// fill reads behind what is held. It takes a large buffer where the small one was filled.
func (l *lane) fill(from io.Reader) ([]byte, error) {
	b := l.bytes()
	n, err := from.Read(b[l.held:])
	l.held += n
	return b[:l.held], err
}

// keep drops the first bytes, and has room for more.
func (l *lane) keep(n int) {
	b := l.bytes()
	full := l.held == len(b)
	l.held = copy(b, b[n:l.held])
	switch {
	case l.large == nil && full:
		l.large = wide.Get().(*[maxLogin * 2]byte)
		copy(l.large[:], l.small[:l.held])
	case l.large != nil && l.held == 0 && n < idleSize/2:
		l.free()
	}
}

func (l *lane) free() {
	if l.large != nil {
		wide.Put(l.large)
		l.large = nil
	}
}

// back passes on what the node says.
func (s *session) back() error {
	var l lane
	defer l.free()
	for {
		b, err := l.fill(s.node)
		if len(b) > 0 {
			if _, werr := s.client.Write(b); werr != nil {
				return werr
			}
			l.keep(len(b))
		}
		if err != nil {
			return orderly(err)
		}
	}
}

// forth passes on what the client says, and has its log-ins judged.
func (s *session) forth(ctx context.Context) error {
	var l lane
	defer l.free()
	var c commands
	for {
		b, err := l.fill(s.client)
		done := 0
		for done < len(b) {
			n, login := c.next(b[done:])
			if n == 0 {
				break
			}
			say := b[done : done+n]
			if login != nil {
				say = s.judge(ctx, login, say)
			}
			if _, werr := s.node.Write(say); werr != nil {
				return werr
			}
			done += n
		}
		l.keep(done)
		if err != nil {
			// The beginning of a command that never ends: the engine drops it as well.
			return orderly(err)
		}
	}
}

// nonsense is refused by every engine when it is to be queued, and the transaction with it.
// A log-in that fails only when that is executed gets no answer at all from some (Valkey 8.1).
var nonsense = []byte("*1\r\n$4\r\nAUTH\r\n")

// judge returns what goes to the engine for a log-in. The engine itself answers: to a token
// that is no good as to a wrong password.
func (s *session) judge(ctx context.Context, l *loginCommand, said []byte) []byte {
	v := s.f.m.cfg.Door.Login(ctx, Login{Unit: s.unit, User: string(l.args[l.user]), Token: string(l.args[l.user+1]), From: s.from, Queued: l.queued})
	if v.Refused {
		return nonsense
	}
	if v.Password == "" {
		return said
	}
	s.stay()
	return l.with(v.Password)
}

// orderly is nil for an end that is none before its time.
func orderly(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
