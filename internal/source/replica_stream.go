package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"holdfast.dev/internal/resp"
)

// streamPos is a place in a server's history: after so many bytes of the stream
// of commands, with a database selected. It stands between two commands.
type streamPos struct {
	ID     string
	Offset int64
	DB     int
}

// replicaCommands reads the stream of commands that follows a snapshot. What it
// keeps of a command is bounded: larger arguments are passed over, and are nil.
type replicaCommands struct {
	r    *bufio.Reader
	args [][]byte
	buf  []byte
	ends []int // of each argument in buf; -1 for one that was passed over
}

const (
	// keptArgument bytes of an argument are kept, the name's and a key's among them.
	keptArgument = 1 << 20
	// keptCommand bytes of all arguments of a command are kept.
	keptCommand = 32 << 20
	// maxArguments is what servers themselves take at most.
	maxArguments = 1 << 26
)

func newReplicaCommands(r io.Reader) *replicaCommands {
	return &replicaCommands{r: bufio.NewReaderSize(r, streamBuffer)}
}

// next reads one command: its arguments, valid until the next call, and how long
// it is in the stream. Newlines between commands are signs of life and are not a
// part of the stream: the server does not count them either.
func (c *replicaCommands) next() (args [][]byte, size int64, err error) {
	line, err := c.line()
	for err == nil && len(bytes.TrimRight(line, "\r\n")) == 0 {
		line, err = c.line()
	}
	if err != nil {
		return nil, 0, err
	}
	size = int64(len(line))
	c.buf, c.ends = c.buf[:0], c.ends[:0]
	if line[0] != '*' {
		return c.inline(line), size, nil
	}
	n, err := c.number(line, '*', maxArguments)
	if err != nil {
		return nil, 0, err
	}
	for range n {
		m, err := c.argument()
		if err != nil {
			return nil, 0, unexpected(err)
		}
		size += m
	}
	return c.split(), size, nil
}

// argument reads $<length>, the bytes and a line's end.
func (c *replicaCommands) argument() (int64, error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	head := int64(len(line))
	n, err := c.number(line, '$', 1<<40)
	if err != nil {
		return 0, err
	}
	if n > keptArgument || len(c.buf)+n > keptCommand {
		c.ends = append(c.ends, -1)
		_, err = io.CopyN(io.Discard, c.r, int64(n))
	} else {
		at := len(c.buf)
		c.buf = append(c.buf, make([]byte, n)...)
		c.ends = append(c.ends, len(c.buf))
		_, err = io.ReadFull(c.r, c.buf[at:])
	}
	if err != nil {
		return 0, err
	}
	var end [2]byte
	if _, err := io.ReadFull(c.r, end[:]); err != nil {
		return 0, err
	}
	if string(end[:]) != "\r\n" {
		return 0, fmt.Errorf("%w: an argument of the replication stream ends with %q", resp.ErrProtocol, end)
	}
	return head + int64(n) + 2, nil
}

// split makes the arguments of the buffer, which does not move any more.
func (c *replicaCommands) split() [][]byte {
	c.args = c.args[:0]
	from := 0
	for _, end := range c.ends {
		if end < 0 {
			c.args = append(c.args, nil)
			continue
		}
		c.args = append(c.args, c.buf[from:end:end])
		from = end
	}
	if cap(c.buf) > 4*keptArgument { // it was an exception
		c.buf = nil
	}
	return c.args
}

// inline is a command in one line, as old servers send PING.
func (c *replicaCommands) inline(line []byte) [][]byte {
	c.args = c.args[:0]
	for f := range bytes.FieldsSeq(line) {
		c.args = append(c.args, f)
	}
	return c.args
}

func (c *replicaCommands) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line of the replication stream does not end", resp.ErrProtocol)
	}
	if err != nil && len(line) > 0 {
		err = unexpected(err)
	}
	return line, err
}

// number reads a count after its kind.
func (c *replicaCommands) number(line []byte, kind byte, most int) (int, error) {
	text := bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
	if len(text) == 0 || text[0] != kind {
		return 0, fmt.Errorf("%w: the replication stream has %.40q where %q is due", resp.ErrProtocol, line, kind)
	}
	n, err := strconv.Atoi(string(text[1:]))
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%w: the replication stream has the count %.40q", resp.ErrProtocol, line)
	}
	return n, nil
}
