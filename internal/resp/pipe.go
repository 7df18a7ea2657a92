package resp

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// DefaultWindow is how many bytes of commands a Pipe keeps in flight. On
// loopback a quarter of it is enough; the rest pays for distance.
const DefaultWindow = 1 << 20

// A Pipe hands its bytes over to be sent when so many have come together.
const pipeChunk = 64 << 10

// Pipe keeps many commands in flight on a connection. Replies come in the order
// of the commands; remembering what each belongs to is the caller's. Typical use:
//
//	for each command {
//		for p.Full() { r, err := p.Next(); … }
//		p.End(AppendCommand(p.Begin(), …))
//	}
//	for p.Len() > 0 { r, err := p.Next(); … }
type Pipe struct {
	c      *Conn
	window int
	// buf collects commands that have not been handed to the sender.
	buf   []byte
	begun int
	// sizes is a ring of the bytes of each command in flight; its length is a power of two.
	sizes       []int
	head, count int
	bytes       int
	// unsent counts the commands in buf.
	unsent  int
	release func()
	closed  bool

	out  chan []byte
	free chan []byte
	wg   sync.WaitGroup
	// waiting counts the chunks that the sender has to write still.
	waiting atomic.Int32
}

// NewPipe takes c over until Close. When ctx ends, the connection is cut. A
// window of 0 means DefaultWindow. A single command may be larger than the window.
func NewPipe(ctx context.Context, c *Conn, window int) *Pipe {
	if window <= 0 {
		window = DefaultWindow
	}
	// Never more chunks wait to be sent than fit into the window, and the one that
	// Next forces out leaves only when all before it were answered.
	depth := window/pipeChunk + 4
	p := &Pipe{
		c: c, window: window, release: c.Guard(ctx),
		buf: make([]byte, 0, 2*pipeChunk), sizes: make([]int, 1024),
		out: make(chan []byte, depth), free: make(chan []byte, depth),
	}
	p.wg.Go(p.send)
	return p
}

// send writes what Flush could not write at once.
func (p *Pipe) send() {
	var failed bool
	for b := range p.out {
		if !failed {
			if err := p.c.write(b); err != nil {
				// The reader would wait for replies that never come.
				p.c.cutWith(err)
				failed = true
			}
		}
		p.waiting.Add(-1)
		if cap(b) >= pipeChunk && cap(b) <= keepBuffer {
			select {
			case p.free <- b[:0]:
			default:
			}
		}
	}
}

// Begin returns the slice to append one command to; give the result to End.
func (p *Pipe) Begin() []byte {
	p.begun = len(p.buf)
	return p.buf
}

// End takes back what Begin returned, with one command appended.
func (p *Pipe) End(b []byte) { p.EndMany(b, 1) }

// EndMany takes back what Begin returned, with so many commands appended, at
// least one. Their bytes leave the window with the reply of the last.
func (p *Pipe) EndMany(b []byte, commands int) {
	n := len(b) - p.begun
	p.buf = b
	for range commands - 1 {
		p.note(0)
	}
	p.note(n)
	if len(p.buf) >= pipeChunk {
		p.Flush()
	}
}

// note remembers a command of n bytes.
func (p *Pipe) note(n int) {
	if p.count == len(p.sizes) {
		p.grow()
	}
	p.sizes[(p.head+p.count)&(len(p.sizes)-1)] = n
	p.count++
	p.bytes += n
	p.unsent++
}

func (p *Pipe) grow() {
	ring := make([]int, 2*len(p.sizes))
	n := copy(ring, p.sizes[p.head:])
	copy(ring[n:], p.sizes[:p.head])
	p.sizes, p.head = ring, 0
}

// Len is the number of commands whose replies have not been read.
func (p *Pipe) Len() int { return p.count }

// Full tells whether the window is used up, so that Next should be called before
// another command is sent.
func (p *Pipe) Full() bool { return p.bytes >= p.window }

// Flush starts sending everything appended so far. Next does it by itself when
// nothing else is under way.
func (p *Pipe) Flush() {
	if len(p.buf) == 0 {
		return
	}
	p.unsent = 0
	if p.waiting.Load() == 0 {
		// Nothing stands before these bytes. Most of the time the system takes them at
		// once, which spares waking the sender for each chunk.
		n := p.c.writeNow(p.buf)
		if n == len(p.buf) {
			p.buf = p.buf[:0]
			if cap(p.buf) > keepBuffer {
				p.buf = make([]byte, 0, 2*pipeChunk)
			}
			return
		}
		p.buf = p.buf[n:]
	}
	p.waiting.Add(1)
	p.out <- p.buf
	select {
	case b := <-p.free:
		p.buf = b
	default:
		p.buf = make([]byte, 0, 2*pipeChunk)
	}
}

// Next reads the reply of the oldest command in flight. The reply is valid until
// the next call; an error reply is a reply, not an error.
func (p *Pipe) Next() (*Reply, error) {
	if p.count == 0 {
		return nil, errors.New("cannot read a reply: no command is in flight")
	}
	if p.unsent == p.count {
		p.Flush()
	}
	r, err := p.c.Receive()
	if err != nil {
		return nil, err
	}
	p.bytes -= p.sizes[p.head]
	p.head = (p.head + 1) & (len(p.sizes) - 1)
	p.count--
	return r, nil
}

// Close stops sending and gives the connection back. With commands still in
// flight the connection is closed, for their replies could be taken for others'.
func (p *Pipe) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	var err error
	if p.count > 0 {
		err = p.c.Close()
	}
	close(p.out)
	p.wg.Wait()
	p.release()
	return err
}
