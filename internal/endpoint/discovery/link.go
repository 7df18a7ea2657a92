package discovery

import (
	"errors"
	"io"
	"net"
	"sync"
)

// link is a client and the memcached that it was given.
type link struct {
	f      *Front
	client net.Conn

	mu     sync.Mutex
	server net.Conn
	broken bool
	// due are the answers to expect of the kind that stands for ours: nil where the
	// client asked for it itself.
	due []*request
	// heard is told after each line that came back while the client was not let in.
	heard chan struct{}
	in    bool
}

// splitter of requests, and of replies.
type (
	requests interface{ next(b []byte) (int, request) }
	replies  interface{ next(b []byte) (int, bool) }
)

// attach takes the connection to memcached; false if the link has been cut meanwhile.
func (l *link) attach(server net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		abort(server)
		return false
	}
	l.server = server
	return true
}

// cut ends both connections at once. It may be called from any goroutine.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return
	}
	l.broken = true
	abort(l.client)
	if l.server != nil {
		abort(l.server)
	}
	if l.heard != nil {
		close(l.heard)
	}
}

// run passes bytes on until both directions have ended.
func (l *link) run() {
	b := &buffer{from: l.client}
	if err := b.fill(); err != nil {
		l.end(err)
		return
	}
	var ask requests = &textRequests{}
	var say replies = &textReplies{}
	l.in = true
	if b.bytes()[0] == magicRequest {
		ask, say = &binaryRequests{}, &binaryReplies{}
	} else if l.f.cfg.Password {
		l.in, l.heard = false, make(chan struct{}, 1)
	}
	var back sync.WaitGroup
	back.Go(func() { l.end(l.down(say)) })
	if err := l.up(b, ask); !errors.Is(err, io.EOF) {
		l.cut()
	} else if half, ok := l.server.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			l.cut()
		}
	} else {
		l.cut()
	}
	back.Wait()
}

// end closes both sides: what memcached has ended it does not read from any more.
func (l *link) end(err error) {
	if !errors.Is(err, io.EOF) {
		l.cut()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return
	}
	l.broken = true
	// They have been flushed; errors mean that the other side was faster.
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
	if l.heard != nil {
		close(l.heard)
	}
}

// up passes the client's requests on; io.EOF if the client has ended.
func (l *link) up(b *buffer, split requests) error {
	for {
		from, to := 0, 0 // what is to be passed on as it is
		for to < len(b.bytes()) {
			n, q := split.next(b.bytes()[to:])
			if n == 0 {
				break
			}
			if q.kind == passed && l.isIn() {
				to += n
				continue
			}
			if err := l.send(b.bytes()[from:to]); err != nil {
				return err
			}
			whole := b.bytes()[to : to+n]
			to += n
			from = to
			if err := l.forward(whole, q, split); err != nil {
				return err
			}
		}
		if err := l.send(b.bytes()[from:to]); err != nil {
			return err
		}
		b.drop(to)
		if err := b.fill(); err != nil {
			return err
		}
	}
}

// forward sends one request that needs attention, or what is asked in its place.
func (l *link) forward(whole []byte, q request, split requests) error {
	if q.kind == ours {
		whole = q.ask()
		if q.reply != refusedText && q.reply != refusedBinary {
			l.f.asked.Add(1)
		}
	}
	if !l.isIn() {
		return l.knock(whole, split)
	}
	switch q.kind {
	case ours:
		l.expect(&q)
	case versionAsked:
		l.expect(nil)
	}
	return l.send(whole)
}

// knock sends what a client sends before it is let in, one request at a time: each is answered by
// one line, and after it everything is different or it is not.
func (l *link) knock(whole []byte, split requests) error {
	if err := l.send(whole); err != nil {
		return err
	}
	if t, ok := split.(*textRequests); ok && (t.skip > 0 || t.inLine) {
		return nil // its data come next
	}
	if _, open := <-l.heard; !open {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (l *link) isIn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.in
}

func (l *link) expect(q *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = append(l.due, q)
}

// expected is the oldest answer that is due.
func (l *link) expected() *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.due) == 0 {
		return nil // memcached says it of its own accord
	}
	q := l.due[0]
	l.due = l.due[1:]
	return q
}

func (l *link) send(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := l.server.Write(p)
	return err
}

// down passes memcached's replies on, ours in their places; io.EOF if it has ended.
func (l *link) down(split replies) error {
	b := &buffer{from: l.server}
	for {
		if err := b.fill(); err != nil {
			return err
		}
		from, to := 0, 0
		for to < len(b.bytes()) {
			n, marked := split.next(b.bytes()[to:])
			if n == 0 {
				break
			}
			own := b.bytes()[to : to+n]
			to += n
			if !l.isIn() {
				if err := l.tell(b.bytes()[from:to]); err != nil {
					return err
				}
				from = to
				l.listen(own)
				continue
			}
			if !marked {
				continue
			}
			if q := l.expected(); q != nil {
				if err := l.tell(append(b.bytes()[from:to-n:to-n], q.answer(*l.f.list.Load(), own)...)); err != nil {
					return err
				}
				from = to
			}
		}
		if err := l.tell(b.bytes()[from:to]); err != nil {
			return err
		}
		b.drop(to)
	}
}

// listen hears whether the client has been let in.
func (l *link) listen(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = string(line) == "STORED\r\n"
	if !l.broken {
		select {
		case l.heard <- struct{}{}:
		default: // it said more than it was asked
		}
	}
}

func (l *link) tell(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := l.client.Write(p)
	return err
}

// buffer holds what has been read and not been passed on.
type buffer struct {
	from       io.Reader
	room       [bufferSize]byte
	begin, end int
}

func (b *buffer) bytes() []byte { return b.room[b.begin:b.end] }

// fill reads once.
func (b *buffer) fill() error {
	if b.begin > 0 {
		b.end = copy(b.room[:], b.room[b.begin:b.end])
		b.begin = 0
	}
	for {
		n, err := b.from.Read(b.room[b.end:])
		b.end += n
		if n > 0 {
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
}

func (b *buffer) drop(n int) {
	b.begin += n
	if b.begin == b.end {
		b.begin, b.end = 0, 0
	}
}
