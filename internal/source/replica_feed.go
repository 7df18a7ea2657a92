package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"holdfast.dev/internal/command"
	"holdfast.dev/internal/resp"
)

// replicaFeed stays on a server's replication stream and notes which keys change.
// One goroutine receives, whatever else is slow: the server never has to keep
// anything for us but what the network holds.
type replicaFeed struct {
	opt    resp.Options
	dir    string
	giveUp time.Duration
	d      *dirtySet
	stop   context.CancelFunc
	wg     sync.WaitGroup
	effect command.Effect

	// The rest is guarded by d.mu.

	// failed is why it ended; nil while it is being tried.
	failed error
	up     bool
	// joins counts links, resyncs those of them that began with a snapshot.
	joins, resyncs int
	received       int64
}

// Reconnecting: the first try comes at once, then later and later.
const (
	rejoinFirst = 50 * time.Millisecond
	rejoinMost  = 2 * time.Second
)

// startReplica joins the server and follows it until Close. It returns when the
// server has agreed, and tells whether it goes on from pos.
func startReplica(ctx context.Context, opt resp.Options, d *dirtySet, pos streamPos, dir string, giveUp time.Duration) (*replicaFeed, bool, error) {
	ctx, stop := context.WithCancel(ctx)
	link, err := joinReplica(ctx, opt, &pos)
	if err != nil {
		stop()
		return nil, false, err
	}
	f := &replicaFeed{opt: opt, dir: dir, giveUp: giveUp, d: d, stop: stop}
	continued := link.body == nil
	d.mu.Lock()
	d.pos = pos
	d.mu.Unlock()
	f.wg.Go(func() { f.run(ctx, link) })
	return f, continued, nil
}

// Close leaves the server and waits for the goroutine.
func (f *replicaFeed) Close() {
	f.stop()
	f.wg.Wait()
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if full := f.d.work.full; full != nil && !full.applying {
		_ = full.Close() // the file has no name: with this it is gone
		f.d.work.full = nil
	}
}

// run serves one link after the other.
func (f *replicaFeed) run(ctx context.Context, link *replicaLink) {
	for {
		err := f.serve(ctx, link)
		_ = link.Close() // it is dead already
		f.setLink(false)
		if ctx.Err() == nil && !isDisk(err) {
			link, err = f.rejoin(ctx)
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if err != nil {
			f.d.mu.Lock()
			f.failed = err
			f.d.stir()
			f.d.mu.Unlock()
			return
		}
	}
}

func isDisk(err error) bool {
	var disk *diskError
	var script *scriptError
	return errors.As(err, &disk) || errors.As(err, &script)
}

func (f *replicaFeed) setLink(up bool) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.up = up
}

// rejoin tries until the server is there again.
func (f *replicaFeed) rejoin(ctx context.Context) (*replicaLink, error) {
	wait, begun := rejoinFirst, time.Now()
	for {
		f.d.mu.Lock()
		pos := f.d.pos
		f.d.mu.Unlock()
		link, err := joinReplica(ctx, f.opt, &pos)
		if err == nil {
			f.d.mu.Lock()
			f.d.pos = pos
			f.d.mu.Unlock()
			return link, nil
		}
		if fatalJoin(err) {
			return nil, err
		}
		if time.Since(begun) > f.giveUp {
			return nil, fmt.Errorf("the source could not be reached for %s: %w", f.giveUp, err)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
		wait = min(2*wait, rejoinMost)
	}
}

// serve receives from one link until it breaks.
func (f *replicaFeed) serve(ctx context.Context, link *replicaLink) error {
	f.d.mu.Lock()
	f.joins++
	f.d.mu.Unlock()
	if link.body != nil {
		if err := f.snapshot(link); err != nil {
			return err
		}
	}
	f.setLink(true)
	ctx, stop := context.WithCancel(ctx)
	var acks sync.WaitGroup
	acks.Go(func() { f.acknowledge(ctx, link) })
	defer acks.Wait()
	defer stop()
	in := newReplicaCommands(link.rest())
	for {
		args, size, err := in.next()
		if err != nil {
			return err
		}
		if err := f.take(link, args, size); err != nil {
			return err
		}
	}
}

// acknowledge tells the server once a second how far we are.
func (f *replicaFeed) acknowledge(ctx context.Context, link *replicaLink) {
	t := time.NewTicker(ackEvery)
	defer t.Stop()
	for {
		f.d.mu.Lock()
		offset := f.d.pos.Offset
		f.d.mu.Unlock()
		if link.ack(offset) != nil {
			return // the link is cut, and its reader says so
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// snapshot receives the snapshot. From its announcement on no key may be read
// until it was applied: takeSome sees to it.
func (f *replicaFeed) snapshot(link *replicaLink) error {
	full, err := newFullSync(f.dir, link.info)
	if err != nil {
		return &diskError{err}
	}
	f.d.mu.Lock()
	f.resyncs++
	f.d.pos = streamPos{} // of no use before all of it is there
	if old := f.d.work.full; old != nil {
		old.end(errors.New("another snapshot took its place"))
		if !old.applying {
			_ = old.Close() // the file has no name: with this it is gone
		}
	}
	f.d.work.full = full
	f.d.markAll()
	f.d.stir()
	f.d.mu.Unlock()
	if err := full.receive(link.body); err != nil {
		return err
	}
	f.d.mu.Lock()
	f.d.pos = streamPos{ID: link.info.ReplID, Offset: link.info.Offset}
	f.d.mu.Unlock()
	return nil
}

// scriptError: what a script changed is not known.
type scriptError struct{ name string }

func (e *scriptError) Error() string {
	return fmt.Sprintf("the server replicates %s as it is and not what it does (as before Redis 5, or with lua-replicate-commands no), so that it is not known which keys change; follow it by commands instead", e.name)
}

// take notes what a command does.
func (f *replicaFeed) take(link *replicaLink, args [][]byte, size int64) error {
	command.ParseInto(&f.effect, args)
	if err := f.apply(args, size); err != nil {
		return err
	}
	if len(args) > 1 && strings.EqualFold(string(args[0]), "REPLCONF") && strings.EqualFold(string(args[1]), "GETACK") {
		f.d.mu.Lock()
		offset := f.d.pos.Offset
		f.d.mu.Unlock()
		return link.ack(offset)
	}
	return nil
}

func (f *replicaFeed) apply(args [][]byte, size int64) error {
	e, d := &f.effect, f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	f.received += size
	d.pos.Offset += size
	work := feedWork{}
	switch e.Kind {
	case command.Write:
		if e.Undeclared {
			return &scriptError{string(args[0])}
		}
		f.wrote(args, &work)
	case command.Select:
		d.pos.DB = e.DB
	case command.Flush:
		if work.sweep.all = e.All; !e.All {
			work.sweep.add(d.pos.DB)
		}
	case command.FlushSlot:
		work.sweep.add(d.pos.DB)
	case command.SwapDB:
		work.sweep.add(e.DB, e.Other)
		work.rescan.add(e.DB, e.Other)
	case command.Unknown:
		f.unknown(args, &work)
	}
	if !work.empty() {
		d.work.add(work)
		d.markAll()
		d.stir()
	}
	return d.broken
}

// wrote notes the keys of a write.
func (f *replicaFeed) wrote(args [][]byte, work *feedWork) {
	e, d := &f.effect, f.d
	for i, at := range e.Written {
		if args[at] == nil { // too long to be kept
			work.rescan.all, work.sweep.all = true, true
			return
		}
		db := d.pos.DB
		if e.Other >= 0 && i == len(e.Written)-1 {
			db = e.Other
		}
		d.note(db, args[at])
	}
}

// unknown keeps a command for the server to be asked about its keys.
func (f *replicaFeed) unknown(args [][]byte, work *feedWork) {
	c := unknownCommand{db: f.d.pos.DB}
	for _, a := range args {
		if len(a) > keptUnknown || a == nil || len(args) > keptUnknown {
			work.rescan.all, work.sweep.all = true, true
			return
		}
		c.args = append(c.args, string(a))
	}
	if len(f.d.work.unknown) >= maxUnknown {
		f.d.work.unknown = nil
		work.rescan.all, work.sweep.all = true, true
		return
	}
	if len(c.args) > 0 {
		work.unknown = append(work.unknown, c)
	}
}

// keptUnknown bounds the arguments, and the bytes of one, of a command that is kept.
const keptUnknown = 4096

// reach returns when everything up to an offset of a history was noted; false if
// the feed is on another history now.
func (f *replicaFeed) reach(ctx context.Context, id string, offset int64) (bool, error) {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		f.d.mu.Lock()
		pos, err, other := f.d.pos, f.failed, f.d.work.full != nil
		f.d.mu.Unlock()
		switch {
		case err != nil:
			return false, err
		case other || pos.ID != id:
			return false, nil
		case pos.Offset >= offset:
			return true, nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
