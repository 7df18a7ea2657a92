package bridge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

const (
	upstreamBuffer = 256 << 10
	maxReplyLine   = 4096
	endMark        = 40
)

// upstream is our place as a replica of the source.
type upstream struct {
	conn *resp.Conn
	r    *bufio.Reader
	// release ends the context's hold of the connection.
	release func()
}

// dialUpstream joins the source as far as PSYNC.
func dialUpstream(ctx context.Context, opt resp.Options) (*upstream, error) {
	opt.RESP2, opt.DB = true, 0
	conn, err := resp.Dial(ctx, opt)
	if err != nil {
		return nil, err
	}
	u := &upstream{conn: conn, release: conn.Guard(ctx)}
	if err := u.introduce(ctx); err != nil {
		return nil, errors.Join(err, u.close())
	}
	u.r = bufio.NewReaderSize(conn.Raw(), upstreamBuffer)
	return u, nil
}

func (u *upstream) introduce(ctx context.Context) error {
	if _, err := u.conn.Do(ctx, "REPLCONF", "capa", "eof", "capa", "psync2"); err != nil {
		if resp.IsServerError(err) {
			return fmt.Errorf("%w: %w", source.ErrNoReplica, err)
		}
		return err
	}
	srv, err := u.conn.Server(ctx)
	if err != nil {
		return err
	}
	if srv.Engine == "valkey" {
		// Or Valkey 9 would not send hashes whose fields have TTLs.
		if _, err := u.conn.Do(ctx, "REPLCONF", "version", srv.Version); err != nil && !resp.IsServerError(err) {
			return err
		}
	}
	return nil
}

func (u *upstream) close() error {
	u.release()
	return u.conn.Close()
}

// reply reads an answer to PSYNC, passing the newlines of a server that prepares.
func (u *upstream) reply() (string, error) {
	var line []byte
	for {
		b, err := u.r.ReadByte()
		if err != nil {
			return "", ended(err)
		}
		switch {
		case b == '\n' && len(line) == 0:
		case b == '\n':
			text := strings.TrimSuffix(string(line), "\r")
			if said, ok := strings.CutPrefix(text, "-"); ok {
				return "", &resp.ServerError{Text: said}
			}
			return text, nil
		case len(line) == maxReplyLine:
			return "", fmt.Errorf("%w: an answer longer than %d bytes", errStream, maxReplyLine)
		default:
			line = append(line, b)
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// psync asks for the stream from a place on. full tells that the source begins anew;
// replID is its history's name, off then the place of its snapshot.
func (u *upstream) psync(replID string, next int64) (full bool, id string, off int64, err error) {
	if err := u.conn.Send(resp.AppendCommand(nil, "PSYNC", replID, strconv.FormatInt(next, 10))); err != nil {
		return false, "", 0, err
	}
	line, err := u.reply()
	if err != nil {
		return false, "", 0, err
	}
	f := strings.Fields(line)
	switch {
	case len(f) == 1 && f[0] == "+CONTINUE":
		return false, replID, next - 1, nil
	case len(f) >= 2 && f[0] == "+CONTINUE":
		return false, f[1], next - 1, nil
	case len(f) == 3 && f[0] == "+FULLRESYNC":
		off, err = strconv.ParseInt(f[2], 10, 64)
		return true, f[1], off, err
	}
	return false, "", 0, fmt.Errorf("%w: the answer to PSYNC is %.100q", errStream, line)
}

// snapshot is the file that follows a full resynchronization.
type snapshot struct {
	u    *upstream
	r    *rdb.Reader
	mark string
	size int64
}

func (u *upstream) snapshot() (*snapshot, error) {
	line, err := u.reply()
	if err != nil {
		return nil, err
	}
	s := &snapshot{u: u, size: -1}
	if mark, ok := strings.CutPrefix(line, "$EOF:"); ok && len(mark) == endMark {
		s.mark = mark
	} else if s.size, err = strconv.ParseInt(strings.TrimPrefix(line, "$"), 10, 64); err != nil {
		return nil, fmt.Errorf("%w: the snapshot is announced by %.100q", errStream, line)
	}
	s.r = rdb.NewReader(u.r)
	return s, nil
}

// end checks, after the file's own end, that it ends as announced, and makes the
// upstream stand at the first command. A server may send newlines before that.
func (s *snapshot) end() error {
	rest := bufio.NewReaderSize(s.r.Rest(), upstreamBuffer)
	if s.mark != "" {
		got := make([]byte, endMark)
		if _, err := io.ReadFull(rest, got); err != nil {
			return ended(err)
		}
		if string(got) != s.mark {
			return fmt.Errorf("%w: the snapshot does not end with its mark", errStream)
		}
	} else if s.r.Offset() != s.size {
		return fmt.Errorf("%w: a snapshot of %d bytes, announced with %d", errStream, s.r.Offset(), s.size)
	}
	s.u.r = rest
	// A source that streamed its snapshot sends nothing before it is acknowledged.
	return s.u.ack(0)
}

// skipNewlines passes the newlines that a source may send before the first command.
func (u *upstream) skipNewlines() error {
	for {
		b, err := u.r.ReadByte()
		if err != nil {
			return ended(err)
		}
		if b != '\n' {
			return u.r.UnreadByte()
		}
	}
}

// ack tells the source how much of its stream we need never ask for again.
func (u *upstream) ack(off int64) error {
	return u.conn.SendBeside(resp.AppendCommand(nil, "REPLCONF", "ACK", strconv.FormatInt(off, 10)))
}

// ackPeriod is that of the engines: a source that hears nothing gives a replica up.
const ackPeriod = time.Second

// receive hands on what arrives next, in a buffer that comes back by free, and
// returns how much it is.
func (u *upstream) receive(ctx context.Context, chunks chan<- []byte, free chan []byte) (int, error) {
	var buf []byte
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case buf = <-free:
	}
	n, err := u.r.Read(buf[:cap(buf)])
	if n > 0 {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case chunks <- buf[:n]:
		}
	} else {
		free <- buf
	}
	if err != nil {
		return n, ended(err)
	}
	return n, nil
}
