package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// piecesAbove is from what size on a value that is in memory is written in pieces. A
// RESTORE of more would stop the server for a tenth of a second and make it hold the
// payload beside the value.
const piecesAbove = 16 << 20

// unfinishedFor is how long the beginning of a value that was broken off stays on the
// server. It is extended while the value is written.
const unfinishedFor = time.Hour

// large tells whether an entry is written in pieces.
func large(e *flow.Entry) bool {
	return e.Body != nil || len(e.Value) > piecesAbove && rdb.ClassOf(e.Type) != rdb.ClassModule
}

// sendLarge writes an entry in pieces, on a connection of its own, after everything
// that is on its way has been answered.
//
// The value is built under another name in the same slot, and gets its own name and
// expiry, in one transaction, when it is complete and as long as it should be. So
// what breaks off leaves no key that looks whole: it leaves one with "unfinished" in
// its name, which the next attempt deletes and which otherwise expires by itself.
// Its idle time and frequency begin anew: only RESTORE sets them.
func (s *Server) sendLarge(ctx context.Context, e *flow.Entry) error {
	if rdb.ClassOf(e.Type) == rdb.ClassModule {
		return s.sendHeld(ctx, e)
	}
	if err := s.answered(ctx); err != nil {
		return err
	}
	value := e.Body
	if value == nil {
		value = bytes.NewReader(e.Value)
	}
	b := &builder{s: s, ctx: ctx, e: e, at: s.addrOf(e.Key), conns: map[string]*resp.Conn{}}
	b.name = unfinishedName(e.Key, s.routes != nil)
	err := b.build(value)
	b.close()
	if err != nil {
		return keyError("restore", e, err)
	}
	s.events.Confirmed++
	return nil
}

// sendHeld reads a module's value whole: there is no way to write it but RESTORE.
func (s *Server) sendHeld(ctx context.Context, e *flow.Entry) error {
	value, err := rdb.ReadHeld(e.Body)
	if err != nil {
		return keyError("restore", e, err)
	}
	held := *e
	held.Value, held.Body = value, nil
	return s.send(ctx, &held)
}

func (s *Server) addrOf(key []byte) resp.Options {
	if s.one != nil {
		return s.one.opt
	}
	return s.routes.owner[resp.Slot(key)].opt
}

// unfinishedName is the name of a value that is not complete. It begins with the
// key, for users that may write only to some names, unless the slot is in the way.
func unfinishedName(key []byte, cluster bool) []byte {
	const mark = ":holdfast-unfinished"
	name := append(bytes.Clone(key), mark...)
	if !cluster || resp.Slot(name) == resp.Slot(key) {
		return name
	}
	if bytes.IndexByte(key, '}') < 0 && len(key) > 0 {
		return append(append(append([]byte("{"), key...), '}'), mark...)
	}
	// Names without a tag that hold a brace: some number gives the slot.
	for n := int64(0); ; n++ {
		name := strconv.AppendInt([]byte("holdfast-unfinished:"), n, 10)
		if resp.Slot(name) == resp.Slot(key) {
			return name
		}
	}
}

// builder writes one value in pieces.
type builder struct {
	s    *Server
	ctx  context.Context
	e    *flow.Entry
	name []byte
	// at is the server that has the slot; conns are those connected to.
	at    resp.Options
	conns map[string]*resp.Conn
	// extended is when the name was last given time to live.
	extended time.Time
	buf      []byte
}

func (b *builder) close() {
	for _, c := range b.conns {
		_ = c.Close() // everything that matters was answered
	}
}

// conn is a connection to a server, with the entry's database selected.
func (b *builder) conn(at resp.Options) (*resp.Conn, error) {
	if c := b.conns[at.Addr]; c != nil {
		return c, nil
	}
	c, err := resp.Dial(b.ctx, at.WithDB(b.e.DB))
	if err != nil {
		return nil, err
	}
	b.conns[at.Addr] = c
	return c, nil
}

func (b *builder) build(value io.Reader) error {
	to, err := b.target()
	if err != nil {
		return err
	}
	if b.s.opt.KeepExisting {
		if err := b.absent(); err != nil {
			return err
		}
	}
	if _, err := b.do("UNLINK", string(b.name)); err != nil {
		return err
	}
	p := &pieces{out: b, to: to, key: b.name, restore: b.restore}
	if err := p.write(b.e, value); err != nil {
		return b.giveUp(err)
	}
	if err := b.complete(p); err != nil {
		return b.giveUp(err)
	}
	return b.finish()
}

// giveUp takes away what was written so far, where that can still be done.
func (b *builder) giveUp(err error) error {
	if b.ctx.Err() == nil {
		_, _ = b.do("UNLINK", string(b.name)) // it expires anyway
	}
	return err
}

func (b *builder) target() (pieceTarget, error) {
	to := pieceTarget{Target: b.s.tr.Target()}
	r, err := b.do("CONFIG", "GET", "proto-max-bulk-len")
	switch {
	case resp.IsServerError(err):
		return to, nil // we may not ask
	case err != nil:
		return to, err
	case len(r.Elems) == 2:
		to.bulk, _ = r.Elems[1].Number()
	}
	return to, nil
}

// restore makes a RESTORE in place of what may be there.
func (b *builder) restore(e *flow.Entry) ([]byte, error) {
	out, err := translate(b.s.tr, e)
	if err != nil {
		return nil, err
	}
	return appendRestore(nil, &out, out.Version, true), nil
}

func (b *builder) absent() error {
	r, err := b.do("EXISTS", string(b.e.Key))
	if err != nil {
		return err
	}
	if r.Int != 0 {
		return errBusy
	}
	return nil
}

var errBusy = errors.New("the server has a key of this name, which is not to be replaced")

// complete compares the value's length with what was written: a server may evict it
// meanwhile, and would take the rest for a new value.
func (b *builder) complete(p *pieces) error {
	verb := map[rdb.Class]string{
		rdb.ClassString: "STRLEN", rdb.ClassList: "LLEN", rdb.ClassSet: "SCARD", rdb.ClassZSet: "ZCARD",
		rdb.ClassHash: "HLEN", rdb.ClassStream: "XLEN",
	}[rdb.ClassOf(b.e.Type)]
	r, err := b.do(verb, string(b.name))
	if err != nil {
		return err
	}
	least := p.count
	if verb == "HLEN" {
		least = p.lasting
	}
	if r.Int < least || r.Int > p.count {
		return fmt.Errorf("%s says %d after %d were written: the server has evicted or changed the value; give it memory and begin anew", verb, r.Int, p.count)
	}
	return nil
}

// finish gives the value its name and its expiry. While a slot moves, both names
// may be at different nodes for a moment.
func (b *builder) finish() error {
	began := time.Now()
	for d := firstRest; ; d = min(2*d, longestRest) {
		err := b.rename()
		if !resp.IsServerError(err, "TRYAGAIN", "CLUSTERDOWN") || time.Since(began) > b.s.opt.Patience {
			return err
		}
		if err := rest(b.ctx, d); err != nil {
			return err
		}
	}
}

func (b *builder) rename() error {
	e := b.e
	cmd := resp.AppendCommand(b.buf[:0], "MULTI")
	n := 4
	if e.HasExpiry() {
		bare := *e
		bare.Key = b.name
		cmd = appendExpire(cmd, &bare)
	} else {
		cmd = resp.AppendCommand(cmd, "PERSIST", string(b.name))
	}
	rename := "RENAMENX"
	if !b.s.opt.KeepExisting {
		rename = "RENAME"
		cmd = appendUnlink(cmd, e.Key)
		n++
	}
	cmd = resp.AppendCommand(cmd, rename, string(b.name), string(e.Key))
	cmd = resp.AppendCommand(cmd, "EXEC")
	b.buf = cmd
	last, err := b.transaction(cmd, n)
	if err != nil {
		return err
	}
	switch {
	case last.Err() != nil && e.HasExpiry() && strings.Contains(last.Err().Error(), "no such key"):
		return nil // it had expired
	case last.Err() != nil:
		return last.Err()
	case b.s.opt.KeepExisting && last.Int == 0:
		return errBusy
	}
	return nil
}

// transaction sends MULTI to EXEC, n commands, to the server that has the slot, and
// returns the result of the last command before EXEC.
func (b *builder) transaction(cmd []byte, n int) (*resp.Reply, error) {
	c, err := b.conn(b.at)
	if err != nil {
		return nil, err
	}
	defer c.Guard(b.ctx)()
	if err := c.Send(cmd); err != nil {
		return nil, err
	}
	var refused error
	var last *resp.Reply
	for i := range n {
		r, err := c.Receive()
		if err != nil {
			return nil, err
		}
		if err := r.Err(); err != nil && refused == nil {
			refused = err
		}
		if i == n-1 && refused == nil && len(r.Elems) > 0 {
			last = &r.Elems[len(r.Elems)-1]
		}
	}
	if to, ok := c.Redirection(refused); ok && refused != nil {
		if !to.Ask {
			b.at = b.s.addr.At(to.Addr)
		}
		return nil, &resp.ServerError{Text: "TRYAGAIN the slot is on its way to " + to.Addr}
	}
	if refused == nil && last == nil {
		refused = errors.New("the server broke its transaction off")
	}
	return last, refused
}

// do runs one command.
func (b *builder) do(args ...string) (*resp.Reply, error) {
	return b.run(resp.AppendCommand(nil, args...))
}

// run runs one command where the cluster wants it.
func (b *builder) run(cmd []byte) (*resp.Reply, error) {
	began, at, ask := time.Now(), b.at, false
	for d := firstRest; ; d = min(2*d, longestRest) {
		r, to, err := b.try(at, cmd, ask)
		switch {
		case err == nil:
			return r, nil
		case to != nil && to.Ask:
			at, ask = b.s.addr.At(to.Addr), true
		case to != nil:
			b.at = b.s.addr.At(to.Addr)
			at, ask = b.at, false
		case !resp.IsServerError(err, "TRYAGAIN", "CLUSTERDOWN"):
			return r, err
		default:
			at, ask = b.at, false
		}
		if time.Since(began) > b.s.opt.Patience {
			return r, err
		}
		if err := rest(b.ctx, d); err != nil {
			return nil, err
		}
	}
}

func (b *builder) try(at resp.Options, cmd []byte, ask bool) (*resp.Reply, *resp.Redirect, error) {
	c, err := b.conn(at)
	if err != nil {
		return nil, nil, err
	}
	defer c.Guard(b.ctx)()
	if ask {
		if err := c.Send(appendAsking(nil)); err != nil {
			return nil, nil, err
		}
		if _, err := c.Receive(); err != nil {
			return nil, nil, err
		}
	}
	if err := c.Send(cmd); err != nil {
		return nil, nil, err
	}
	r, err := c.Receive()
	if err != nil {
		return nil, nil, err
	}
	if err := r.Err(); err != nil {
		if to, ok := c.Redirection(err); ok {
			return nil, &to, err
		}
		return nil, nil, err
	}
	return r, nil, nil
}

// commands sends whole commands and checks their replies. Those that the cluster
// redirects go one by one: none of them was carried out, and none behind them.
func (b *builder) commands(cmds []byte, n int) error {
	cmds, n = b.extend(cmds, n)
	if n == 0 {
		return nil
	}
	c, err := b.conn(b.at)
	if err != nil {
		return err
	}
	defer c.Guard(b.ctx)()
	if err := c.Send(cmds); err != nil {
		return err
	}
	left := cmds
	var redirected [][]byte
	for range n {
		cmd := nextCommand(left)
		left = left[len(cmd):]
		r, err := c.Receive()
		if err != nil {
			return err
		}
		if _, ok := c.Redirection(r.Err()); ok && r.Err() != nil {
			redirected = append(redirected, cmd)
			continue
		}
		if err := answer(r); err != nil {
			return err
		}
	}
	for _, cmd := range redirected {
		r, err := b.run(cmd)
		if err != nil {
			return err
		}
		if err := answer(r); err != nil {
			return err
		}
	}
	return nil
}

// extend gives the unfinished value more time to live, now and then.
func (b *builder) extend(cmds []byte, n int) ([]byte, int) {
	if now := time.Now(); now.Sub(b.extended) > unfinishedFor/10 {
		b.extended = now
		b.buf = append(b.buf[:0], cmds...)
		b.buf = resp.AppendCommand(b.buf, "PEXPIRE", string(b.name), strconv.FormatInt(unfinishedFor.Milliseconds(), 10))
		return b.buf, n + 1
	}
	return cmds, n
}

// answer checks a reply.
func answer(r *resp.Reply) error {
	if err := r.Err(); err != nil {
		if strings.Contains(err.Error(), "maximum allowed size") {
			err = fmt.Errorf("%w; raise the server's proto-max-bulk-len", err)
		}
		return err
	}
	return nil
}

// nextCommand is the first of encoded commands.
func nextCommand(b []byte) []byte {
	line := func(at int) (n, next int) {
		end := at + bytes.IndexByte(b[at:], '\r')
		n, _ = strconv.Atoi(string(b[at+1 : end]))
		return n, end + 2
	}
	args, at := line(0)
	for range args {
		n, next := line(at)
		at = next + n + 2
	}
	return b[:at]
}

// begin sends the beginning of a command with an argument that comes in parts. It
// can be sent once only, so it goes where the value is: what is written already, or
// an element of the same kind, has asked for that.
func (b *builder) begin(cmd []byte) error { return b.part(cmd) }

func (b *builder) part(bytes []byte) error {
	c, err := b.conn(b.at)
	if err != nil {
		return err
	}
	defer c.Guard(b.ctx)()
	return c.Send(bytes)
}

func (b *builder) end(cmd []byte) error {
	if err := b.part(cmd); err != nil {
		return err
	}
	c, err := b.conn(b.at)
	if err != nil {
		return err
	}
	defer c.Guard(b.ctx)()
	r, err := c.Receive()
	if err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		if _, ok := c.Redirection(err); ok {
			return fmt.Errorf("the slot moved while an element of more than 1 MiB was sent; begin anew when the cluster is at rest: %w", err)
		}
		return err
	}
	return b.commands(nil, 0)
}
