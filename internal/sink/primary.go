package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// PrimaryOptions say how a server is filled as our replica.
type PrimaryOptions struct {
	FollowerOptions
	// Sizes are how many keys and volatile keys each database will get, by which the
	// server makes room once; it may be nil, or wrong.
	Sizes func(db int) (keys, volatile int64)
}

// Primary fills a server by being its primary for a while: the server is told
// REPLICAOF, fetches everything as one RDB file, which it loads as fast as its own,
// and is a primary again. That is about twice as fast as RESTORE.
//
// The server gives up what it holds, so an empty one is asked for unless
// PrimaryOptions.ReplaceAll says otherwise. While it loads its clients get LOADING, and
// maxmemory does not hold it back: whether the data fit is to be asked before.
// It needs REPLICAOF and CONFIG, and must be able to connect to us; ErrNoReplicaOf
// says that it cannot be done, before anything was deleted.
//
// Nothing happens there before the first Write, Function or Commit. After an error,
// and on Close without Commit, it is made a primary again; the error says what it
// holds. If this process is killed it remains a replica of an address where nobody
// is: REPLICAOF NO ONE ends that (masterauth may then hold a random value, and
// repl-diskless-load "on-empty-db").
//
// Each key may come once only: engines end themselves over a file that has one twice.
type Primary struct {
	opt PrimaryOptions
	f   *Follower
	tr  *rdb.Transcoder

	mu   sync.Mutex
	out  *wire
	w    *rdb.Writer
	mark string
	db   int
	keys map[int]int64
	err  error
	done bool
	stop func()
	// raw: the file comes as it is, from somewhere else; see CallAsIs.
	raw, framed bool
	// patience is callTimeout, and period keepAlivePeriod, but in tests.
	patience, period time.Duration
	// link is read by Close beside a Write that it breaks off.
	link atomic.Pointer[Link]
	wg   sync.WaitGroup
}

// callTimeout is how long a server has to reach us once it was told to. It tries
// once a second; longer than that it cannot.
const callTimeout = 20 * time.Second

// NewPrimary finds out whether the server can be filled so. It changes nothing there.
func NewPrimary(ctx context.Context, target resp.Options, opt PrimaryOptions) (*Primary, error) {
	f, err := NewFollower(ctx, target, opt.FollowerOptions)
	if err != nil {
		return nil, err
	}
	tr, err := rdb.NewTranscoder(TargetOf(f.Server()))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Primary{opt: opt, f: f, tr: tr, db: -1, keys: map[int]int64{}, stop: func() {}, patience: callTimeout, period: keepAlivePeriod}, nil
}

// Server is the target's engine and version.
func (p *Primary) Server() resp.Server { return p.f.Server() }

// Function hands over a library. They come before the first entry.
func (p *Primary) Function(ctx context.Context, lib rdb.FunctionLibrary) error {
	return p.do(ctx, func() error {
		if p.raw {
			return errRaw
		}
		return p.w.Function(lib)
	})
}

// Write sends a batch.
func (p *Primary) Write(ctx context.Context, batch []flow.Entry) error {
	return p.do(ctx, func() error {
		if p.raw {
			return errRaw
		}
		for i := range batch {
			if err := p.write(&batch[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// do begins where nothing has begun, and undoes everything when a step fails.
func (p *Primary) do(ctx context.Context, step func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if p.done {
		return errors.New("the sink is closed")
	}
	err := context.Cause(ctx)
	if err == nil && p.out == nil {
		err = p.begin(ctx)
	}
	if err == nil {
		release := p.guard(ctx)
		err = step()
		release()
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}
	if err != nil {
		p.err = p.giveUp(ctx, err)
	}
	return p.err
}

// guard cuts the link when ctx ends.
func (p *Primary) guard(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, p.cut)
	return func() { stop() }
}

// begin has the server call and announces a file of unknown length.
func (p *Primary) begin(ctx context.Context) (err error) {
	if err := p.call(ctx); err != nil {
		return err
	}
	if p.raw {
		p.keepAlive()
		return nil
	}
	if err := p.announce(); err != nil {
		return err
	}
	if p.w, err = rdb.NewWriter(p.out, rdb.HeaderOf(p.tr.Target().Version)); err != nil {
		return err
	}
	p.keepAlive()
	return p.w.Aux("written-by", "holdfast")
}

// call has the server call, and answers that it will get everything.
func (p *Primary) call(ctx context.Context) error {
	if err := p.f.Attach(ctx); err != nil {
		return err
	}
	call, cancel := context.WithTimeoutCause(ctx, p.patience, errNoCall)
	defer cancel()
	link, err := p.f.Accept(call)
	if errors.Is(err, errNoCall) {
		return noRoad(p.f.target, "it was told to fetch its data from us and did not come within %s: it cannot reach %s, or is not let through", p.patience, p.f.listener.Addr())
	}
	if err != nil {
		return err
	}
	p.link.Store(link)
	p.mark, p.out = randomHex(40), &wire{to: link, at: time.Now()}
	_, err = fmt.Fprintf(p.out, "+FULLRESYNC %s 0\r\n", randomHex(40))
	return err
}

// announce says how the file will end.
func (p *Primary) announce() error {
	p.framed = true
	_, err := fmt.Fprintf(p.out, "$EOF:%s\r\n", p.mark)
	return err
}

var errNoCall = errors.New("the server did not call")

func (p *Primary) write(e *flow.Entry) error {
	if EmptyCollection(e.Type, e.Value) {
		return nil
	}
	if e.DB != p.db {
		if err := p.selectDB(e.DB); err != nil {
			return err
		}
	}
	if e.Body != nil {
		return p.writeBody(e)
	}
	out, err := translate(p.tr, e)
	if err != nil {
		return keyError("send", e, err)
	}
	r := rdb.Entry{DB: out.DB, Key: out.Key, Type: out.Type, Value: out.Value, ExpireAt: out.ExpireAt, Idle: out.Idle, Freq: out.Freq}
	if err := p.w.Write(&r); err != nil {
		return keyError("send", e, err)
	}
	p.keys[out.DB]++
	return nil
}

// writeBody sends a value that is read as it is sent.
func (p *Primary) writeBody(e *flow.Entry) error {
	typ, write, err := p.tr.Body(e.Type, e.Version, e.Body)
	if err != nil {
		return keyError("send", e, err)
	}
	out := rdb.Entry{DB: e.DB, Key: e.Key, ExpireAt: e.ExpireAt, Idle: e.Idle, Freq: e.Freq}
	if err := p.w.WriteFunc(&out, typ, write); err != nil {
		return keyError("send", e, err)
	}
	p.keys[e.DB]++
	return nil
}

func (p *Primary) selectDB(db int) error {
	keys, volatile := int64(-1), int64(0)
	if _, again := p.keys[db]; p.opt.Sizes != nil && !again {
		keys, volatile = p.opt.Sizes(db)
	}
	p.db = db
	return p.w.SelectDB(db, keys, volatile)
}

// Commit ends the file, waits until the server has loaded it, counts the keys that
// it holds, and makes it a primary again.
func (p *Primary) Commit(ctx context.Context) error {
	if err := p.do(ctx, func() error { return p.finish(ctx) }); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil
	}
	p.done = true
	p.hangUp()
	if err := p.f.Release(ctx); err != nil {
		p.err = fmt.Errorf("%s has loaded everything: %w", p.f.target, err)
	}
	return p.err
}

func (p *Primary) finish(ctx context.Context) error {
	if err := p.endFile(); err != nil {
		return err
	}
	if _, err := io.WriteString(p.out, p.mark); err != nil {
		return err
	}
	if _, err := p.link.Load().Ack(); err != nil {
		return fmt.Errorf("the server has not said that it loaded the data; its log says why: %w", err)
	}
	info, err := p.f.Info(ctx, "replication")
	if err != nil {
		return err
	}
	if info["master_link_status"] != "up" {
		return fmt.Errorf("the server says that its link to us is %q after it loaded the data", info["master_link_status"])
	}
	held, err := p.f.Keys(ctx)
	if err != nil {
		return err
	}
	// A replica deletes nothing of itself, so the numbers are the same, expired keys included.
	for db, n := range p.keys {
		if held[db] != n {
			return fmt.Errorf("the server holds %d keys in database %d, and was sent %d", held[db], db, n)
		}
	}
	return nil
}

// undoFor bounds how long the target is asked to be a primary again after a failure.
const undoFor = 90 * time.Second

// giveUp makes the server a primary again and says in the error what it holds. The
// context may have ended, and the server is put right all the same.
func (p *Primary) giveUp(ctx context.Context, err error) error {
	p.hangUp()
	if !p.f.attached {
		return errors.Join(err, p.f.putBack(ctx))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	if rerr := p.f.Release(ctx); rerr != nil {
		return fmt.Errorf("%w; %w", err, rerr)
	}
	held, kerr := p.f.Keys(ctx)
	if kerr != nil {
		return fmt.Errorf("%w; %s is a primary again, and what it holds is not known: %w", err, p.f.target, kerr)
	}
	n := int64(0)
	for _, k := range held {
		n += k
	}
	if errors.Is(err, ErrNoReplicaOf) {
		return err
	}
	return fmt.Errorf("%w; %s is a primary again and holds %d keys: what it held before, or all that was sent; a part is never kept", err, p.f.target, n)
}

// hangUp ends the link and the goroutine beside it.
func (p *Primary) hangUp() {
	p.stop()
	p.wg.Wait()
	p.cut()
}

// cut breaks off whatever is under way on the link.
func (p *Primary) cut() {
	if l := p.link.Load(); l != nil {
		_ = l.Close()
	}
}

// Transcoded counts what had to be written in another encoding for this server.
func (p *Primary) Transcoded() rdb.TranscodeStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tr.Stats()
}

// Close hangs up. A server that was not filled to the end is made a primary again.
func (p *Primary) Close() error {
	p.f.shut()
	p.cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if !p.done {
		p.done = true
		if p.f.attached && p.err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), undoFor)
			defer cancel()
			p.hangUp()
			err = p.f.Release(ctx)
		}
	}
	p.hangUp()
	return errors.Join(err, p.f.Close())
}

// keepAlivePeriod is well below the least repl-timeout that anybody sets, and the
// 60 seconds that it is by default.
const keepAlivePeriod = 5 * time.Second

// keepAlive shows the server that we live while the source has nothing to give, by an
// informational field: loaders pass over it wherever it stands. It is so long that
// the writer hands it on at once.
func (p *Primary) keepAlive() {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	filler := string(make([]byte, 256<<10))
	p.wg.Go(func() {
		for pause(ctx, p.period) == nil {
			if !p.mu.TryLock() {
				continue // it is being written to
			}
			if ctx.Err() == nil && p.err == nil && !p.done && p.out.idle() >= p.period {
				// A failure comes again with the next Write.
				_ = p.alive(filler)
			}
			p.mu.Unlock()
		}
	})
}

// wire remembers when something was sent.
type wire struct {
	to io.Writer
	at time.Time
}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	w.at = time.Now()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		err = fmt.Errorf("the server broke off after %s bytes of the last piece: %w", strconv.Itoa(n), err)
	}
	return n, err
}

func (w *wire) idle() time.Duration { return time.Since(w.at) }
