package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"holdfast.dev/internal/resp"
)

// keepEvery so long the connection that tells of changes may be silent.
const keepEvery = 5 * time.Second

// anyDB stands for the database where the server does not tell which.
const anyDB = -1

// touched is a key that was written to.
type touched struct {
	db  int
	key string
}

// capture is the connection that tells which keys change. A goroutine of its own
// reads it.
type capture struct {
	conn    *resp.Conn
	kind    Capture
	marker  string // the channel that markers come on
	release func()
	wg      sync.WaitGroup
	dead    chan struct{} // closed when nothing more will come
	last    time.Time     // of the last question
	// asking has questions sent in the order in which their answers are awaited.
	asking sync.Mutex
	// stream is what is listened to in place of conn, for CaptureReplica.
	stream *replicaFeed

	*dirtySet
	// void says why everything read so far is worthless; err why the connection is dead.
	void, err error
	asked     queue[*question]
}

// question waits for replies.
type question struct {
	left int
	take func(*resp.Reply) // called by the reading goroutine
	done chan struct{}
}

// window notes what is written to while a cut is tried, until it closes.
type window struct {
	open    bool
	touched []touched
	// marker is the message that closes it; grace pushes are still let in after
	// the transaction was answered.
	marker string
	grace  int
}

// openTracking begins to listen to the invalidations of every key. Values too large
// for memory that are read over the connection are spilled to dir.
func openTracking(ctx context.Context, opt resp.Options, dir string, d *dirtySet) (*capture, error) {
	c := &capture{kind: CaptureTracking, dirtySet: d, dead: make(chan struct{}), last: time.Now()}
	opt.OnPush = c.push
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	c.conn = conn
	conn.SpillAbove(spillAbove, dir) // for a cut that is read over it
	r, err := conn.Do(ctx, "CLIENT", "TRACKING", "ON", "BCAST")
	if err == nil && string(r.Bytes) != "OK" {
		err = fmt.Errorf("CLIENT TRACKING answered %s", r.Kind)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c.listen(ctx)
	return c, nil
}

// openNotifications begins to listen to keyspace notifications, by key where
// they are sent so, by event otherwise.
func openNotifications(ctx context.Context, opt resp.Options, byKey bool, marker string, d *dirtySet) (*capture, error) {
	c := &capture{kind: CaptureNotifications, marker: marker, dirtySet: d, dead: make(chan struct{}), last: time.Now()}
	opt.OnPush = c.push
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	c.conn = conn
	c.listen(ctx)
	pattern := "__keyevent@*__:*"
	if byKey {
		pattern = "__keyspace@*__:*"
	}
	for _, cmd := range [][]string{{"PSUBSCRIBE", pattern}, {"SUBSCRIBE", marker}} {
		var refused error
		err := c.ask(resp.AppendCommand(nil, cmd...), 1, func(r *resp.Reply) { refused = r.Err() })
		if err = errors.Join(err, refused); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot listen to notifications (%s): %w", cmd[0], err), c.Close())
		}
	}
	return c, nil
}

func (c *capture) listen(ctx context.Context) {
	c.release = c.conn.Guard(ctx)
	c.wg.Go(func() {
		for {
			r, err := c.conn.Receive()
			if err != nil {
				c.mu.Lock()
				c.err = err
				c.mu.Unlock()
				close(c.dead)
				return
			}
			if r.Kind == resp.Array && c.kind == CaptureNotifications && c.message(r) {
				continue // RESP2
			}
			c.answer(r)
		}
	})
}

// Close hangs up and waits for the reading goroutine.
func (c *capture) Close() error {
	if c.stream != nil {
		return nil // whoever opened it closes it
	}
	err := c.conn.Close()
	c.wg.Wait()
	c.release()
	return err
}

// ask sends n commands and has take look at each reply; it returns after the last.
func (c *capture) ask(cmds []byte, n int, take func(*resp.Reply)) error {
	q := &question{left: n, take: take, done: make(chan struct{})}
	c.asking.Lock()
	c.mu.Lock()
	c.asked.push(q)
	c.last = time.Now()
	c.mu.Unlock()
	err := c.conn.SendBeside(cmds)
	c.asking.Unlock()
	if err != nil {
		// The connection is cut; the reader says so.
		<-c.dead
		return c.lost()
	}
	select {
	case <-q.done:
		return nil
	case <-c.dead:
		return c.lost()
	}
}

// answer gives a reply to who asked.
func (c *capture) answer(r *resp.Reply) {
	c.mu.Lock()
	if c.asked.len() == 0 {
		c.void = fmt.Errorf("%w: a reply nobody asked for", resp.ErrProtocol)
		c.mu.Unlock()
		return
	}
	q := *c.asked.front()
	if q.left--; q.left == 0 {
		c.asked.pop()
	}
	c.mu.Unlock()
	q.take(r)
	if q.left == 0 {
		close(q.done)
	}
}

// sync returns when everything that was written before the call has been noted.
func (c *capture) sync() error {
	if c.stream != nil {
		return c.lost() // see replicaFeed.reach
	}
	var refused error
	err := c.ask(resp.AppendCommand(nil, "PING"), 1, func(r *resp.Reply) { refused = r.Err() })
	if err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	return c.lost()
}

// keepAlive asks now and then, so that a connection that has nothing to tell is
// seen to be there.
func (c *capture) keepAlive() error {
	if c.stream != nil {
		return c.lost()
	}
	c.mu.Lock()
	quiet := time.Since(c.last)
	c.mu.Unlock()
	if quiet < keepEvery {
		return c.lost()
	}
	return c.sync()
}

// lost is a restartError when changes may have been missed.
func (c *capture) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken != nil:
		return c.broken
	case c.stream != nil:
		return c.stream.failed
	case c.void != nil:
		return &restartError{c.void}
	case errors.As(c.err, new(*resp.SpillError)):
		return c.err // of the disk, which reading once more does not cure
	case c.err != nil:
		return restart("the connection that tells of changes was lost: %w", c.err)
	}
	return nil
}

// push takes a message of RESP3.
func (c *capture) push(r *resp.Reply) {
	if c.kind == CaptureNotifications {
		c.message(r)
		return
	}
	if len(r.Elems) != 2 || string(r.Elems[0].Bytes) != "invalidate" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Elems[1].IsNull() {
		c.void = errors.New("the keyspace was emptied (FLUSHALL, FLUSHDB or a full synchronization)")
		c.markAll()
		return
	}
	for i := range r.Elems[1].Elems {
		c.note(anyDB, r.Elems[1].Elems[i].Bytes)
	}
	if w := c.win; w != nil && w.open && w.grace > 0 {
		if w.grace--; w.grace == 0 {
			w.open = false
		}
	}
}

// message takes a message of a channel, and tells whether it was one.
func (c *capture) message(r *resp.Reply) bool {
	if len(r.Elems) == 0 {
		return false
	}
	switch kind := string(r.Elems[0].Bytes); {
	case kind == "psubscribe" || kind == "subscribe":
		c.answer(&r.Elems[0])
	case kind == "pong":
		c.answer(&r.Elems[0])
	case kind == "pmessage" && len(r.Elems) == 4:
		c.notified(r.Elems[2].Bytes, r.Elems[3].Bytes)
	case kind == "message" && len(r.Elems) == 3:
		c.mu.Lock()
		defer c.mu.Unlock()
		if w := c.win; w != nil && w.open && string(r.Elems[1].Bytes) == c.marker && string(r.Elems[2].Bytes) == w.marker {
			w.open = false
		}
	default:
		return false
	}
	return true
}

// notified takes __keyspace@0__:key with an event, or __keyevent@0__:event with a key.
func (c *capture) notified(channel, payload []byte) {
	head, rest, ok := bytes.Cut(channel, []byte("__:"))
	key := rest
	if num, is := bytes.CutPrefix(head, []byte("__keyevent@")); is {
		head, key = num, payload
	} else {
		head, _ = bytes.CutPrefix(head, []byte("__keyspace@"))
	}
	db, err := strconv.Atoi(string(head))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || err != nil {
		c.void = fmt.Errorf("%w: notification on channel %q", resp.ErrProtocol, channel)
		return
	}
	c.note(db, key)
}
