package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// ServerOptions say how a server is filled.
type ServerOptions struct {
	// KeepExisting makes a key that the server has already an error; otherwise it
	// is replaced.
	KeepExisting bool
	// Window is how many bytes of commands are in flight; 0 means resp.DefaultWindow.
	Window int
}

// Server fills a live server. One deep pipeline keeps one server's thread busy;
// more connections were measured to be slower.
type Server struct {
	opt  ServerOptions
	addr resp.Options
	tr   *rdb.Transcoder
	pxat bool
	stop context.CancelFunc

	// mu makes Close wait until the Write that it broke off has returned.
	mu     sync.Mutex
	closed bool
	conn   *resp.Conn
	pipe   *resp.Pipe
	db     int
	// flight holds the keys in flight, oldest first, in slots that are used again.
	flight  []sent
	head, n int
	err     error
}

// sent is a command in flight. A SELECT has no key.
type sent struct {
	key []byte
	db  int
	sel bool
}

// NewServer connects to the server at addr. The context bounds the connecting;
// ctx of Write and Commit governs the rest.
func NewServer(ctx context.Context, addr resp.Options, opt ServerOptions) (*Server, error) {
	conn, err := resp.Dial(ctx, addr.WithDB(0))
	if err != nil {
		return nil, err
	}
	srv, err := targetOf(ctx, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if !srv.AtLeast(5, 0) {
		return nil, errors.Join(fmt.Errorf("cannot restore into %s: RESTORE takes absolute expiries since Redis 5.0", srv), conn.Close())
	}
	s, err := newServer(conn, addr, opt, srv)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

func targetOf(ctx context.Context, conn *resp.Conn) (resp.Server, error) {
	srv, err := conn.Server(ctx)
	if resp.IsServerError(err, "NOPERM") && conn.Greeting().Engine != "" {
		return conn.Greeting(), nil
	}
	return srv, err
}

func newServer(conn *resp.Conn, addr resp.Options, opt ServerOptions, srv resp.Server) (*Server, error) {
	tr, err := rdb.NewTranscoder(TargetOf(srv))
	if err != nil {
		return nil, err
	}
	// The pipe lives as long as the sink does, not as long as one Write: a
	// context of each call cuts the connection when it ends.
	ctx, stop := context.WithCancel(context.Background())
	return &Server{
		opt: opt, addr: addr, conn: conn, stop: stop, tr: tr, pxat: srv.AtLeast(6, 2),
		pipe: resp.NewPipe(ctx, conn, opt.Window), flight: make([]sent, 1024),
	}, nil
}

// Write sends a batch. It returns when all of it is on its way and so much of
// it answered that the rest fits into the window.
func (s *Server) Write(ctx context.Context, batch []flow.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	defer s.conn.Guard(ctx)()
	for i := range batch {
		if err := s.send(&batch[i]); err != nil {
			s.err = err
			return err
		}
	}
	return nil
}

func (s *Server) usable() error {
	if s.err == nil && s.closed {
		return errors.New("the sink is closed")
	}
	return s.err
}

func (s *Server) send(e *flow.Entry) error {
	out, err := translate(s.tr, e)
	if err != nil {
		return keyError("restore", e, err)
	}
	if e.DB != s.db {
		if err := s.room(); err != nil {
			return err
		}
		s.pipe.End(appendSelect(s.pipe.Begin(), e.DB))
		s.note(nil, e.DB, true)
		s.db = e.DB
	}
	if err := s.room(); err != nil {
		return err
	}
	buf := s.pipe.Begin()
	if text, ok := s.asSet(&out); ok {
		buf = appendSet(buf, &out, text)
	} else {
		buf = appendRestore(buf, &out, out.Version, !s.opt.KeepExisting)
	}
	s.pipe.End(buf)
	s.note(e.Key, e.DB, false)
	return nil
}

// Transcoded counts what had to be written in another encoding for this server.
func (s *Server) Transcoded() rdb.TranscodeStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tr.Stats()
}

// asSet tells whether an entry goes as SET, which spares the server the checksum
// and the copy that RESTORE costs. SET says nothing of an existing key, and
// cannot set idle time or frequency.
func (s *Server) asSet(e *flow.Entry) ([]byte, bool) {
	if s.opt.KeepExisting || e.Idle >= 0 || e.Freq >= 0 || e.ExpireAt != 0 && !s.pxat {
		return nil, false
	}
	return plainString(e)
}

// room takes replies until another command fits into the window.
func (s *Server) room() error {
	for s.pipe.Full() {
		if err := s.take(); err != nil {
			return err
		}
	}
	return nil
}

// take checks the oldest reply that is due.
func (s *Server) take() error {
	r, err := s.pipe.Next()
	if err != nil {
		return err
	}
	o := &s.flight[s.head]
	s.head = (s.head + 1) & (len(s.flight) - 1)
	s.n--
	if err := r.Err(); err != nil {
		if o.sel {
			return fmt.Errorf("cannot select database %d of %s: %w", o.db, s.addr, err)
		}
		return fmt.Errorf("cannot restore key %q of database %d into %s: %w", o.key, o.db, s.addr, err)
	}
	return nil
}

func (s *Server) note(key []byte, db int, sel bool) {
	if s.n == len(s.flight) {
		ring := make([]sent, 2*len(s.flight))
		m := copy(ring, s.flight[s.head:])
		copy(ring[m:], s.flight[:s.head])
		s.flight, s.head = ring, 0
	}
	o := &s.flight[(s.head+s.n)&(len(s.flight)-1)]
	o.key, o.db, o.sel = append(o.key[:0], key...), db, sel
	s.n++
}

// Commit waits for the replies of everything written.
func (s *Server) Commit(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	defer s.conn.Guard(ctx)()
	for s.n > 0 {
		if err := s.take(); err != nil {
			s.err = err
			return err
		}
	}
	return nil
}

// Close hangs up. Commands in flight may or may not be carried out.
func (s *Server) Close() error {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.pipe.Close(), s.conn.Close())
}
