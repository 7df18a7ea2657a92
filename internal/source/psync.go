package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// ErrNoReplica says that a server does not let us join as its replica, as most
// managed services do not; Scan reads those.
var ErrNoReplica = errors.New("the server does not let a replica join")

// Info is what a server says when it hands over its snapshot.
type Info struct {
	// ReplID and Offset name the instant of the snapshot in the server's history.
	ReplID string
	Offset int64
	// Size is the length of the RDB in bytes, -1 if the server streams it
	// without knowing.
	Size int64
	// Server is what sends it; empty if we may not ask.
	Server resp.Server
}

// streamBuffer is how much of a snapshot is received at once.
const streamBuffer = 256 << 10

// Snapshot joins the server as a replica and returns its snapshot: one RDB file
// as the server would write it, streamed, io.EOF at its end. A stream that breaks
// off gives io.ErrUnexpectedEOF or another error, never io.EOF; that the content is
// whole too shows when its checksum is read (rdb.Reader does). Close leaves.
//
// The server forks for it as for BGSAVE. It may wait before it begins
// (repl-diskless-sync-delay, 5 seconds by default). A server that sends nothing, not even
// the newlines of one that is busy, for opt.Timeout ends in an error.
func Snapshot(ctx context.Context, opt resp.Options) (io.ReadCloser, Info, error) {
	opt.RESP2 = true
	opt.DB = 0
	conn, err := resp.Dial(ctx, opt)
	if err != nil {
		return nil, Info{}, err
	}
	release := conn.Guard(ctx)
	var info Info
	body, err := join(ctx, conn, &info)
	if err != nil {
		release()
		return nil, info, errors.Join(fmt.Errorf("cannot take the snapshot of %s: %w", conn, err), conn.Close())
	}
	return &stream{conn: conn, body: body, release: release}, info, nil
}

// stream is a snapshot on its way. Closing it is the goodbye: it has not
// acknowledged anything, so the server drops it at once.
type stream struct {
	conn    *resp.Conn
	body    io.Reader
	release func()
	once    sync.Once
	err     error
}

func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

func (s *stream) Close() error {
	s.once.Do(func() {
		s.release()
		s.err = s.conn.Close()
	})
	return s.err
}

// join goes through the handshake and returns the body of the snapshot.
func join(ctx context.Context, conn *resp.Conn, info *Info) (io.Reader, error) {
	if err := announce(ctx, conn, info); err != nil {
		return nil, err
	}
	// Asks the server not to keep the changes for us that follow the snapshot.
	// One that does not know this (before 7.0) starts to send them at our first
	// acknowledgement, which never comes.
	if _, err := conn.Do(ctx, "REPLCONF", "rdb-only", "1"); err != nil && !resp.IsServerError(err) {
		return nil, err
	}
	if err := conn.Send(resp.AppendCommand(nil, "PSYNC", "?", "-1")); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn.Raw(), maxReplicaLine)
	line, err := replicaLine(r)
	if err != nil {
		return nil, err
	}
	if err := fullResync(line, info); err != nil {
		return nil, err
	}
	body, _, err := announced(r, info)
	return body, err
}

// announce tells the server what kind of replica we are.
func announce(ctx context.Context, conn *resp.Conn, info *Info) error {
	srv, err := conn.Server(ctx)
	if err != nil && !resp.IsServerError(err) {
		return err
	}
	info.Server = srv
	// No listening-port is announced, for nothing of ours listens.
	if _, err := conn.Do(ctx, "REPLCONF", "capa", "eof", "capa", "psync2"); err != nil {
		return refusal(err)
	}
	if srv.Engine == "valkey" {
		// Valkey 9 sends its own format only to a replica that says it reads it,
		// and fails otherwise where hash fields have TTLs.
		if _, err := conn.Do(ctx, "REPLCONF", "version", srv.Version); err != nil && !resp.IsServerError(err) {
			return err
		}
	}
	return nil
}

// fullResync reads the answer to PSYNC.
func fullResync(line string, info *Info) (err error) {
	if text, ok := strings.CutPrefix(line, "-"); ok {
		return refusal(&resp.ServerError{Text: text})
	}
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "+FULLRESYNC" {
		return fmt.Errorf("the answer to PSYNC is %.100q", line)
	}
	info.ReplID = f[1]
	if info.Offset, err = strconv.ParseInt(f[2], 10, 64); err != nil {
		return fmt.Errorf("cannot read the offset in %.100q: %w", line, err)
	}
	return nil
}

// announced reads how the snapshot is framed: $<length>, or $EOF:<mark> for one
// of unknown length that ends with the mark. What follows the snapshot comes from
// rest, once the snapshot was read.
func announced(r *bufio.Reader, info *Info) (body io.Reader, rest func() io.Reader, err error) {
	line, err := replicaLine(r)
	if err != nil {
		return nil, nil, err
	}
	if text, ok := strings.CutPrefix(line, "-"); ok {
		return nil, nil, &resp.ServerError{Text: text}
	}
	if mark, ok := strings.CutPrefix(line, "$EOF:"); ok {
		if len(mark) != markLen {
			return nil, nil, fmt.Errorf("the end mark %.100q is not of %d bytes", mark, markLen)
		}
		info.Size = -1
		m := newMarked(r, mark)
		return m, func() io.Reader { return io.MultiReader(bytes.NewReader(m.after()), r) }, nil
	}
	text, ok := strings.CutPrefix(line, "$")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || n < 0 {
		return nil, nil, fmt.Errorf("the snapshot is announced by %.100q", line)
	}
	info.Size = n
	return &counted{r: r, left: n}, func() io.Reader { return r }, nil
}

// maxReplicaLine bounds an answer of the handshake.
const maxReplicaLine = 4096

// replicaLine reads a line, passing the empty ones by which a server shows that
// it is alive while it prepares.
func replicaLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		b, err := r.ReadByte()
		if err != nil {
			return "", unexpected(err)
		}
		switch {
		case b == '\n' && len(line) == 0:
		case b == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		case len(line) == maxReplicaLine:
			return "", fmt.Errorf("a line of the handshake is longer than %d bytes", maxReplicaLine)
		default:
			line = append(line, b)
		}
	}
}

// refusal tells a server that knows no replicas, or not us as one, from other trouble.
func refusal(err error) error {
	if resp.UnknownCommand(err) || resp.IsServerError(err, "NOPERM") {
		return fmt.Errorf("%w: %w", ErrNoReplica, err)
	}
	return err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// PSync reads a server's snapshot as its replica would.
type PSync struct {
	opt resp.Options

	mu     sync.Mutex
	closed bool
	body   io.Closer
	info   Info
}

// NewPSync returns a source that joins the server at opt as a replica.
func NewPSync(opt resp.Options) *PSync { return &PSync{opt: opt} }

// Entries yields the keys of all databases as they were at one instant.
func (s *PSync) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return oneError(func(yield func(*flow.Entry) bool) (err error) {
		body, info, err := Snapshot(ctx, s.opt)
		if err != nil {
			return err
		}
		if err := s.hold(body, info); err != nil {
			return errors.Join(err, body.Close())
		}
		defer func() {
			if cerr := body.Close(); err == nil {
				err = cerr
			}
		}()
		return readSnapshot(body, yield)
	})
}

// readSnapshot yields the entries of an RDB stream that must end where its
// framing does.
func readSnapshot(body io.Reader, yield func(*flow.Entry) bool) error {
	r := rdb.NewReader(body)
	r.StreamAbove(spillAbove)
	h, err := r.Header()
	if err != nil {
		return err
	}
	e := flow.Entry{Version: h.Version}
	for {
		re, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped one would be the input's error, not the good end
			break
		}
		if err != nil {
			return err
		}
		fill(&e, re)
		if !yield(&e) {
			return errStop
		}
	}
	n, err := io.Copy(io.Discard, r.Rest())
	if err != nil {
		return fmt.Errorf("cannot read the end of the snapshot: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("the snapshot goes on for %d bytes after its end", n)
	}
	return nil
}

func (s *PSync) hold(body io.Closer, info Info) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.body, s.info = body, info
	return nil
}

// Info is what the server said; it is filled once Entries has yielded something.
func (s *PSync) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// Len is the number of keys that the server counts now.
func (s *PSync) Len(ctx context.Context) (int64, error) {
	return NewScan(s.opt, ScanOptions{}).Len(ctx)
}

// Close leaves; a reading that is under way ends with an error.
func (s *PSync) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.body == nil {
		return nil
	}
	return s.body.Close()
}
