package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

// replicaLink is one connection to a server as its replica.
type replicaLink struct {
	conn    *resp.Conn
	release func()
	info    Info
	// body is the snapshot, nil where the server goes on from the place that was
	// asked for; rest is what follows it.
	body io.Reader
	rest func() io.Reader

	send sync.Mutex
}

// ackEvery is how often the server is told how far we have come: servers drop a
// replica that is silent for repl-timeout, and count its lag in seconds.
const ackEvery = time.Second

// joinReplica joins the server at opt: from a place in its history, where the
// server still has what follows, else from a snapshot of now. In the first case
// the identifier of pos may be another one afterwards: that of the server's new
// history after a failover.
func joinReplica(ctx context.Context, opt resp.Options, pos *streamPos) (*replicaLink, error) {
	opt.RESP2, opt.DB = true, 0
	conn, err := resp.Dial(ctx, opt)
	if err != nil {
		return nil, err
	}
	l := &replicaLink{conn: conn, release: conn.Guard(ctx)}
	if err := l.join(ctx, pos); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot follow %s as its replica: %w", conn, err), l.Close())
	}
	return l, nil
}

func (l *replicaLink) join(ctx context.Context, pos *streamPos) error {
	if err := announce(ctx, l.conn, &l.info); err != nil {
		return err
	}
	id, off := "?", "-1"
	if pos.ID != "" {
		id, off = pos.ID, strconv.FormatInt(pos.Offset+1, 10)
	}
	if err := l.conn.Send(resp.AppendCommand(nil, "PSYNC", id, off)); err != nil {
		return err
	}
	r := bufio.NewReaderSize(l.conn.Raw(), streamBuffer)
	line, err := replicaLine(r)
	if err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(line, "+CONTINUE"); ok && pos.ID != "" {
		if f := strings.Fields(rest); len(f) > 0 {
			pos.ID = f[0]
		}
		l.rest = func() io.Reader { return r }
		return nil
	}
	if err := fullResync(line, &l.info); err != nil {
		return err
	}
	l.body, l.rest, err = announced(r, &l.info)
	return err
}

// ack tells the server up to where the stream was received. The first one after
// a snapshot makes the server send what follows it.
func (l *replicaLink) ack(offset int64) error {
	l.send.Lock()
	defer l.send.Unlock()
	return l.conn.SendBeside(resp.AppendCommand(nil, "REPLCONF", "ACK", strconv.FormatInt(offset, 10)))
}

// Close leaves.
func (l *replicaLink) Close() error {
	l.release()
	return l.conn.Close()
}

// fatalJoin tells whether it is of no use to try to join again.
func fatalJoin(err error) bool {
	return errors.Is(err, ErrNoReplica) || resp.IsServerError(err, "NOAUTH", "WRONGPASS", "NOPERM")
}
