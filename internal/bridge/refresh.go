package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
)

// refreshBatch is how many keys are read at once: they belong to one offset, and
// the source does nothing else meanwhile.
const refreshBatch = 64

// refresher reads keys of the source for the target. It belongs to one goroutine.
type refresher struct {
	source resp.Options
	tr     *rdb.Transcoder
	conn   *resp.Conn
	// questions about one key.
	questions [][]string
}

func newRefresher(opt resp.Options, from, to resp.Server) (*refresher, error) {
	tr, err := rdb.NewTranscoder(targetOf(to))
	if err != nil {
		return nil, err
	}
	f := &refresher{source: opt, tr: tr, questions: [][]string{{"SELECT"}, {"DUMP"}, {"PEXPIRETIME"}}}
	if !from.AtLeast(7, 0) { // to the millisecond, more or less
		f.questions = [][]string{{"SELECT"}, {"DUMP"}, {"PTTL"}, {"TIME"}}
	}
	return f, nil
}

// ask appends the questions about a key.
func (f *refresher) ask(cmds []byte, k keyID) []byte {
	for _, q := range f.questions {
		switch q[0] {
		case "SELECT":
			cmds = resp.AppendCommand(cmds, "SELECT", strconv.Itoa(k.DB))
		case "TIME":
			cmds = resp.AppendCommand(cmds, "TIME")
		default:
			cmds = resp.AppendCommand(cmds, q[0], k.Key)
		}
	}
	return cmds
}

// expiry is the Unix time in milliseconds at which a key expires, 0 if it does not,
// -2 if there is no such key.
func expiry(r []resp.Reply) (int64, error) {
	ttl := r[2].Int
	switch {
	case ttl == -1:
		return 0, nil
	case ttl < 0 || len(r) == 3:
		return ttl, nil
	}
	if len(r[3].Elems) != 2 {
		return 0, errors.New("TIME answers something else")
	}
	s, err1 := r[3].Elems[0].Number()
	us, err2 := r[3].Elems[1].Number()
	return s*1000 + us/1000 + ttl, errors.Join(err1, err2)
}

// targetOf is what the target holds. Which modules it has is not asked.
func targetOf(s resp.Server) rdb.Target {
	t := sink.TargetOf(s)
	t.Modules = false
	return t
}

// run reads what is asked for until the context ends. A source that cannot be reached
// is tried again; a value that the target cannot hold is an error.
func (f *refresher) run(ctx context.Context, want <-chan []keyID, got chan<- []*value) error {
	defer f.hangUp()
	for {
		var keys []keyID
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case keys = <-want:
		}
		for len(keys) > 0 {
			n := min(len(keys), refreshBatch)
			values, err := f.insist(ctx, keys[:n])
			if err != nil {
				return err
			}
			keys = keys[n:]
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case got <- values:
			}
		}
	}
}

// insist reads keys, over a new connection when one is lost.
func (f *refresher) insist(ctx context.Context, keys []keyID) ([]*value, error) {
	for {
		values, err := f.read(ctx, keys)
		var lost *rdb.LossError
		switch {
		case err == nil:
			return values, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.As(err, &lost), resp.IsServerError(err) && !resp.IsServerError(err, "LOADING", "BUSY", "MASTERDOWN"):
			return nil, err
		}
		f.hangUp()
		if err := wait(ctx, retryAfter); err != nil {
			return nil, err
		}
	}
}

func (f *refresher) hangUp() {
	if f.conn != nil {
		_ = f.conn.Close() // it is given up for another reason, if there is one
		f.conn = nil
	}
}

// read reads keys in one transaction together with the offset to which they belong.
func (f *refresher) read(ctx context.Context, keys []keyID) ([]*value, error) {
	if f.conn == nil {
		conn, err := resp.Dial(ctx, f.source.WithDB(0))
		if err != nil {
			return nil, err
		}
		f.conn = conn
	}
	defer f.conn.Guard(ctx)()
	cmds := resp.AppendCommand(nil, "MULTI")
	for _, k := range keys {
		cmds = f.ask(cmds, k)
	}
	cmds = resp.AppendCommand(cmds, "INFO", "replication")
	cmds = resp.AppendCommand(cmds, "EXEC")
	if err := f.conn.Send(cmds); err != nil {
		return nil, err
	}
	for range len(f.questions)*len(keys) + 2 {
		r, err := f.conn.Receive()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			f.hangUp() // the answers that are left would be taken for others
			return nil, fmt.Errorf("cannot read keys of %s again: %w", f.source, err)
		}
	}
	r, err := f.conn.Receive()
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		f.hangUp()
		return nil, fmt.Errorf("cannot read keys of %s again: %w", f.source, err)
	}
	return f.values(keys, r.Elems)
}

// values makes commands of the answers.
func (f *refresher) values(keys []keyID, r []resp.Reply) ([]*value, error) {
	per := len(f.questions)
	if len(r) != per*len(keys)+1 {
		return nil, fmt.Errorf("cannot read keys of %s again: %d answers to %d questions", f.source, len(r), per*len(keys)+1)
	}
	at, replID, err := place(&r[len(r)-1])
	if err != nil {
		return nil, err
	}
	out := make([]*value, len(keys))
	for i, k := range keys {
		out[i] = &value{id: k, at: at, replID: replID}
		if out[i].command, err = f.command(k, r[per*i:per*(i+1)]); err != nil {
			return nil, fmt.Errorf("cannot carry key %q of database %d of %s: %w", k.Key, k.DB, f.source, err)
		}
	}
	return out, nil
}

// place is where INFO says that the source's stream is.
func place(info *resp.Reply) (off int64, replID string, err error) {
	off = -1
	for name, text := range resp.InfoFields(info.Bytes) {
		switch name {
		case "master_repl_offset":
			off, err = strconv.ParseInt(text, 10, 64)
		case "master_replid":
			replID = text
		}
	}
	if err == nil && off < 0 {
		err = errors.New("INFO replication names no offset")
	}
	return off, replID, err
}

// command is what makes the key so at the target: RESTORE, or DEL where it is gone.
func (f *refresher) command(k keyID, answers []resp.Reply) ([]byte, error) {
	for i := range answers {
		if err := answers[i].Err(); err != nil {
			return nil, err
		}
	}
	at, err := expiry(answers)
	if err != nil {
		return nil, err
	}
	dump := &answers[1]
	if dump.IsNull() || at == -2 {
		return resp.AppendCommand(nil, "DEL", k.Key), nil
	}
	d, err := rdb.ParseDump(dump.Bytes)
	if err != nil {
		return nil, err
	}
	if sink.EmptyCollection(d.Type, d.Value) {
		return resp.AppendCommand(nil, "DEL", k.Key), nil
	}
	payload, err := f.tr.AppendDump(nil, d.Type, d.Version, d.Value)
	if err != nil {
		return nil, err
	}
	b := resp.AppendArray(nil, 6)
	b = resp.AppendString(b, "RESTORE")
	b = resp.AppendString(b, k.Key)
	b = resp.AppendInt(b, at)
	b = resp.AppendBulk(b, payload)
	b = resp.AppendString(b, "REPLACE")
	return resp.AppendString(b, "ABSTTL"), nil
}

const retryAfter = 100 * time.Millisecond

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
