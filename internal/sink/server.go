package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// ServerOptions say how a server or cluster is filled.
type ServerOptions struct {
	// KeepExisting makes a key that the server has already an error; otherwise it
	// is replaced. A lost connection is then an error too: whether a key that is
	// there was there before could not be told any more.
	KeepExisting bool
	// Window is how many bytes of commands are in flight, to all nodes together; 0
	// means resp.DefaultWindow for each shard, at most eight of them.
	Window int
	// Patience is how long a server may be lost, or refuse for a passing reason,
	// with nothing confirmed meanwhile; 0 means DefaultPatience.
	Patience time.Duration
}

// DefaultPatience is enough for a server to be restarted with some data, and for a
// cluster to elect a primary.
const DefaultPatience = 2 * time.Minute

// Server fills a live server, or a cluster, which it finds out by itself. One deep
// pipeline keeps one server's thread busy; more connections were measured to be
// slower. In a cluster there is one to each primary.
//
// What is in flight is kept until it was answered. Commands that a cluster
// redirects, that a server refuses for a passing reason, or that were not answered
// when a connection was lost, are sent again: see repair. A key written twice ends
// up as it was written last, whatever happens.
type Server struct {
	opt    ServerOptions
	addr   resp.Options
	srv    resp.Server
	tr     *rdb.Transcoder
	pxat   bool
	window int

	life   sync.Mutex // guards closed and cancel
	closed bool
	cancel context.CancelCauseFunc

	// mu makes Close wait until the Write that it broke off has returned.
	mu     sync.Mutex
	nodes  []*node
	one    *node   // the only node, if this is no cluster
	routes *routes // nil if this is no cluster
	bytes  int     // in flight
	seq    uint64
	events Events
	// single: the server does not take MSET.
	single bool
	// unsure are keys of which an old version may still be carried out.
	unsure map[flow.Key]struct{}
	err    error
}

// Events are what a Server lived through.
type Events struct {
	// Confirmed counts the commands that were answered as they should; one for many
	// keys counts as many.
	Confirmed int64 `json:"confirmed"`
	// Resent counts the commands that had to be sent again.
	Resent int64 `json:"resent"`
	// Redirected counts those of them that another node of the cluster is responsible for.
	Redirected int64 `json:"redirected"`
	// Reconnects counts the connections that were made anew.
	Reconnects int64 `json:"reconnects"`
	// Restarts says which servers ended or failed over meanwhile. What they had
	// confirmed before is there only if they had it on disk or on the replica that took over:
	// it has to be verified.
	Restarts []string `json:"restarts"`
}

// NewServer connects to the server at addr, or to all primaries of the cluster that
// it is a node of. The context bounds the connecting; ctx of Write and Commit
// governs the rest.
func NewServer(ctx context.Context, addr resp.Options, opt ServerOptions) (*Server, error) {
	conn, err := resp.Dial(ctx, addr.WithDB(0))
	if err != nil {
		return nil, err
	}
	if opt.Patience <= 0 {
		opt.Patience = DefaultPatience
	}
	s := &Server{opt: opt, addr: addr.WithDB(0)}
	cluster, err := conn.IsCluster(ctx)
	switch {
	case err != nil:
		err = errors.Join(err, conn.Close())
	case cluster:
		err = errors.Join(s.joinCluster(ctx, conn), conn.Close())
	default:
		err = s.joinOne(ctx, conn)
	}
	if err == nil {
		err = s.settle()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
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

// joinOne takes over a connection to the only server.
func (s *Server) joinOne(ctx context.Context, conn *resp.Conn) error {
	n := newNode(s.addr)
	n.connect(conn, s.inFlight(1))
	s.nodes, s.one = []*node{n}, n
	return s.learn(ctx, n)
}

// learn asks a node what it is. What is sent suits the oldest of all nodes.
func (s *Server) learn(ctx context.Context, n *node) error {
	srv, err := targetOf(ctx, n.conn)
	if err != nil {
		return err
	}
	if s.srv.Engine == "" || versionOf(srv) < versionOf(s.srv) {
		s.srv = srv
	}
	if n.life, err = lifelineOf(ctx, n.conn); err != nil {
		return err
	}
	return nil
}

// settle decides what all nodes have in common.
func (s *Server) settle() (err error) {
	if !s.srv.AtLeast(5, 0) {
		return fmt.Errorf("cannot restore into %s: RESTORE takes absolute expiries since Redis 5.0", s.srv)
	}
	s.window, s.pxat = s.inFlight(len(s.nodes)), s.srv.AtLeast(6, 2)
	s.tr, err = rdb.NewTranscoder(TargetOf(s.srv))
	return err
}

// inFlight is the window for so many nodes.
func (s *Server) inFlight(nodes int) int {
	if s.opt.Window > 0 {
		return s.opt.Window
	}
	return resp.DefaultWindow * min(max(nodes, 1), 8)
}

// Write sends a batch. It returns when all of it is on its way and so much of
// it answered that the rest fits into the window.
func (s *Server) Write(ctx context.Context, batch []flow.Entry) error {
	return s.call(ctx, func(ctx context.Context) error {
		for len(batch) > 0 {
			n, err := s.sendSome(ctx, batch)
			if err != nil {
				return err
			}
			batch = batch[n:]
		}
		return nil
	})
}

// Commit waits for the replies of everything written.
func (s *Server) Commit(ctx context.Context) error { return s.call(ctx, s.answered) }

// call runs one call of the sink's owner, which Close can break off. The first
// error is the sink's end.
func (s *Server) call(ctx context.Context, run func(context.Context) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.life.Lock()
	s.cancel = cancel
	closed := s.closed
	s.life.Unlock()
	if closed {
		return errClosed
	}
	for _, n := range s.nodes {
		n.guard(ctx)
	}
	err := run(ctx)
	for _, n := range s.nodes {
		if n.conn != nil {
			n.release()
		}
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	s.err = err
	return err
}

var errClosed = errors.New("the sink is closed")

// sendSome puts what a batch begins with on its way, and tells how many entries that were.
func (s *Server) sendSome(ctx context.Context, batch []flow.Entry) (int, error) {
	keys, size := s.many(batch)
	if keys < 2 {
		return 1, s.send(ctx, &batch[0])
	}
	n, err := s.place(ctx, batch[0].DB, batch[0].Key)
	if err != nil {
		return 0, err
	}
	buf := appendMany(n.begin(size+keys*setFrame+commandFrame), batch[:keys])
	s.seq += uint64(keys) // each has its place: a key may be among them twice
	s.bytes += n.end(buf, flying{db: batch[0].DB, seq: s.seq, keys: keys})
	return keys, nil
}

// send puts one entry on its way.
func (s *Server) send(ctx context.Context, e *flow.Entry) error {
	if err := s.admit(e); err != nil {
		return err
	}
	if EmptyCollection(e.Type, e.Value) {
		if s.opt.KeepExisting {
			return nil // there is nothing to be written
		}
		return s.send(ctx, &flow.Entry{DB: e.DB, Key: e.Key, Deleted: true})
	}
	if e.Deleted {
		n, err := s.place(ctx, e.DB, e.Key)
		if err != nil {
			return err
		}
		s.fly(n, appendUnlink(n.begin(len(e.Key)+commandFrame), e.Key), e.DB)
		return nil
	}
	if large(e) {
		return s.sendLarge(ctx, e)
	}
	out, err := translate(s.tr, e)
	if err != nil {
		return keyError("restore", e, err)
	}
	n, err := s.place(ctx, e.DB, e.Key)
	if err != nil {
		return err
	}
	buf := n.begin(out.Size() + commandFrame)
	if text, ok := s.asSet(&out); ok {
		buf = appendSet(buf, &out, text)
	} else {
		buf = appendRestore(buf, &out, out.Version, !s.opt.KeepExisting)
	}
	s.fly(n, buf, e.DB)
	return nil
}

// commandFrame is at least what a command takes besides key and value.
const commandFrame = 192

// admit refuses what the target has no place for.
func (s *Server) admit(e *flow.Entry) error {
	if s.routes != nil && e.DB != 0 && !s.routes.databases {
		return keyError("restore", e, errors.New("the cluster has database 0 only; leave the other databases out, or map them to 0"))
	}
	if s.unsure == nil {
		return nil
	}
	if _, ok := s.unsure[flow.Key{DB: e.DB, Name: string(e.Key)}]; ok {
		return keyError("restore", e, errors.New("an older version of it was on its way when a connection was lost, and may still be carried out later; begin anew, or allow the user CLIENT ID, CLIENT KILL and INFO"))
	}
	return nil
}

// place finds the node for a key, with room in the window and the database selected.
func (s *Server) place(ctx context.Context, db int, key []byte) (*node, error) {
	if err := s.room(ctx); err != nil {
		return nil, err
	}
	n := s.one
	if n == nil {
		n = s.routes.owner[resp.Slot(key)]
	}
	if n.conn == nil || db != n.db {
		return s.reach(ctx, db, key)
	}
	return n, nil
}

// fly notes that a command is on its way.
func (s *Server) fly(n *node, buf []byte, db int) {
	s.seq++
	s.bytes += n.end(buf, flying{db: db, seq: s.seq, keys: 1})
}

// Transcoded counts what had to be written in another encoding for this server.
func (s *Server) Transcoded() rdb.TranscodeStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tr.Stats()
}

// Events tells what happened so far.
func (s *Server) Events() Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.events
	e.Restarts = append([]string{}, e.Restarts...)
	return e
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
func (s *Server) room(ctx context.Context) error {
	for s.bytes >= s.window {
		n := s.busiest()
		if err := s.take(ctx, n); err != nil {
			return err
		}
		// What has come already costs no waiting.
		for n.count > n.unsent && n.conn != nil && n.conn.Buffered() > 0 {
			if err := s.take(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// busiest is the node with the most in flight.
func (s *Server) busiest() *node {
	if s.one != nil {
		return s.one
	}
	best := s.nodes[0]
	for _, n := range s.nodes[1:] {
		if n.bytes > best.bytes {
			best = n
		}
	}
	return best
}

// take checks the oldest reply that is due from a node.
func (s *Server) take(ctx context.Context, n *node) error {
	f, r, err := n.next()
	if err != nil {
		return s.repair(ctx, nil)
	}
	s.bytes -= f.to - f.from
	if err := r.Err(); err != nil {
		again, err := s.judge(n, &f, err)
		if err != nil {
			return err
		}
		return s.repair(ctx, again)
	}
	s.events.Confirmed += int64(f.keys)
	n.done(&f)
	return nil
}

// answered waits until nothing is in flight.
func (s *Server) answered(ctx context.Context) error {
	for _, n := range s.nodes {
		if n.conn != nil {
			n.flush()
		}
	}
	for i := 0; i < len(s.nodes); {
		n := s.nodes[i]
		if n.count == 0 {
			i++
			continue
		}
		if err := s.take(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// Close hangs up. Commands in flight may or may not be carried out.
func (s *Server) Close() error {
	s.life.Lock()
	s.closed = true
	if s.cancel != nil {
		s.cancel(errClosed)
	}
	s.life.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, n := range s.nodes {
		err = errors.Join(err, n.drop())
	}
	s.nodes = nil
	return err
}
