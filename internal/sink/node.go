package sink

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"holdfast.dev/internal/resp"
)

// A node hands its commands on to be sent when so many bytes have come together.
// Larger chunks than keepChunk are not used again.
const (
	sendChunk = 64 << 10
	keepChunk = 1 << 20
)

// chunk holds encoded commands. They stay where they are until all of them were
// answered, so that they can be sent once more.
type chunk struct {
	buf     []byte
	live    int         // commands that wait for their replies
	written atomic.Bool // the sender is done with buf
}

// flying is a command in flight.
type flying struct {
	chunk    *chunk
	from, to int
	db       int
	// seq is the command's place in the order of all commands of the sink.
	seq uint64
	// keys is how many keys it writes.
	keys int
	// aux: it prepares the next command (SELECT, ASKING), and is not sent again by itself.
	aux bool
}

func (f *flying) bytes() []byte { return f.chunk.buf[f.from:f.to] }

// node is one server, with what is in flight to it. It belongs to the goroutine
// that writes to the sink, but for its sender.
type node struct {
	addr string
	opt  resp.Options
	conn *resp.Conn // nil while there is none
	// release ends the guard of the call that is under way.
	release func()
	life    lifeline
	// met: there was a connection before; became is what is known of it.
	met    bool
	became former
	// db is selected when everything sent so far has been carried out; known ones exist.
	db    int
	known map[int]bool

	cur    *chunk
	unsent int // commands in cur
	free   []*chunk
	// flights is a ring of the commands in flight; its length is a power of two.
	flights     []flying
	head, count int
	bytes       int

	out    chan *chunk
	sender sync.WaitGroup
}

func newNode(opt resp.Options) *node {
	return &node{addr: opt.Addr, opt: opt, known: map[int]bool{0: true}}
}

// connect takes a connection over and starts to send to it.
func (n *node) connect(c *resp.Conn, window int) {
	n.conn, n.db, n.met, n.release = c, 0, true, func() {}
	n.cur = &chunk{buf: make([]byte, 0, 2*sendChunk)}
	n.flights = make([]flying, 1024)
	n.head, n.count, n.bytes, n.unsent = 0, 0, 0, 0
	n.out = make(chan *chunk, window/sendChunk+4)
	n.sender.Go(func() { send(c, n.out) })
}

// guard makes the end of ctx cut the connection.
func (n *node) guard(ctx context.Context) {
	if n.conn != nil {
		n.release = n.conn.Guard(ctx)
	}
}

// send writes chunks. When that fails the connection is cut, which whoever waits
// for replies gets to know; the rest is thrown away.
func send(c *resp.Conn, chunks <-chan *chunk) {
	var failed bool
	for k := range chunks {
		failed = failed || c.SendBeside(k.buf) != nil
		k.written.Store(true)
	}
}

// drop hangs up. What was in flight is forgotten.
func (n *node) drop() error {
	if n.conn == nil {
		return nil
	}
	n.release()
	err := n.conn.Close()
	close(n.out)
	n.sender.Wait()
	n.conn, n.cur, n.flights, n.free, n.count, n.bytes, n.unsent = nil, nil, nil, nil, 0, 0, 0
	return err
}

// begin returns the slice to append a command of about size bytes to; give the result to end.
func (n *node) begin(size int) []byte {
	if free := cap(n.cur.buf) - len(n.cur.buf); size > free {
		n.flush()
		if size > cap(n.cur.buf) {
			n.cur.buf = make([]byte, 0, size)
		}
	}
	return n.cur.buf
}

// end takes back what begin returned, with a command appended.
func (n *node) end(buf []byte, f flying) int {
	f.chunk, f.from, f.to = n.cur, len(n.cur.buf), len(buf)
	n.cur.buf = buf
	n.cur.live++
	if n.count == len(n.flights) {
		n.grow()
	}
	n.flights[(n.head+n.count)&(len(n.flights)-1)] = f
	n.count++
	n.unsent++
	n.bytes += f.to - f.from
	if len(buf) >= sendChunk {
		n.flush()
	}
	return f.to - f.from
}

func (n *node) grow() {
	ring := make([]flying, 2*len(n.flights))
	m := copy(ring, n.flights[n.head:])
	copy(ring[m:], n.flights[:n.head])
	n.flights, n.head = ring, 0
}

// flush starts sending everything appended so far.
func (n *node) flush() {
	if n.unsent == 0 {
		return
	}
	n.out <- n.cur
	n.unsent = 0
	if m := len(n.free); m > 0 {
		n.cur, n.free = n.free[m-1], n.free[:m-1]
		return
	}
	n.cur = &chunk{buf: make([]byte, 0, 2*sendChunk)}
}

var errNothingInFlight = errors.New("cannot read a reply: no command is in flight")

// next reads the reply of the oldest command in flight. On an error the
// connection is lost and the command is still the oldest.
func (n *node) next() (flying, *resp.Reply, error) {
	if n.count == 0 {
		return flying{}, nil, errNothingInFlight
	}
	if n.unsent == n.count {
		n.flush()
	}
	r, err := n.conn.Receive()
	if err != nil {
		return flying{}, nil, err
	}
	return n.pop(), r, nil
}

// pop takes out the oldest command in flight.
func (n *node) pop() flying {
	f := &n.flights[n.head]
	out := *f
	f.chunk = nil
	n.head = (n.head + 1) & (len(n.flights) - 1)
	n.count--
	n.bytes -= out.to - out.from
	return out
}

// done lets go of a command that was answered and will not be sent again.
func (n *node) done(f *flying) {
	k := f.chunk
	k.live--
	if k.live > 0 || k == n.cur || !k.written.Load() || cap(k.buf) > keepChunk {
		return
	}
	k.buf = k.buf[:0]
	k.written.Store(false)
	n.free = append(n.free, k)
}
