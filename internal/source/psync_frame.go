package source

import (
	"bytes"
	"io"
)

// markLen is the length of the mark that ends a snapshot of unknown length.
const markLen = 40

// counted reads a snapshot of known length, and nothing after it.
type counted struct {
	r    io.Reader
	left int64
}

func (c *counted) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// marked reads a snapshot that ends with a mark. It looks for the mark wherever
// it may be, also across two reads, and not only in what came last: servers have
// been seen to send newlines after it. The mark is random, so it is not in the data.
type marked struct {
	r    io.Reader
	mark []byte
	buf  []byte
	// buf[from:safe] is data; buf[safe:to] may be the beginning of the mark.
	from, safe, to int
	// skip is by how far the search may go on where a byte stands at the mark's end:
	// nearly always by all of its length, so that few bytes are looked at.
	skip  [256]uint8
	ended bool
	err   error
}

func newMarked(r io.Reader, mark string) *marked {
	m := &marked{r: r, mark: []byte(mark), buf: make([]byte, streamBuffer)}
	for i := range m.skip {
		m.skip[i] = markLen
	}
	for i := range markLen - 1 {
		m.skip[mark[i]] = uint8(markLen - 1 - i)
	}
	return m
}

// find is where the mark begins in b, -1 if it is not there.
func (m *marked) find(b []byte) int {
	for end := markLen - 1; end < len(b); {
		c := b[end]
		if c == m.mark[markLen-1] && bytes.Equal(b[end+1-markLen:end+1], m.mark) {
			return end + 1 - markLen
		}
		end += int(m.skip[c])
	}
	return -1
}

func (m *marked) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for m.from == m.safe {
		if m.ended {
			return 0, io.EOF
		}
		if m.err != nil {
			return 0, unexpected(m.err)
		}
		m.more()
	}
	n := copy(p, m.buf[m.from:m.safe])
	m.from += n
	return n, nil
}

// more receives and finds out how much of it is data.
func (m *marked) more() {
	m.to = copy(m.buf, m.buf[m.safe:m.to])
	n, err := m.r.Read(m.buf[m.to:])
	m.to += n
	m.from, m.err = 0, err
	if at := m.find(m.buf[:m.to]); at >= 0 {
		m.safe, m.ended = at, true
		return
	}
	m.safe = max(m.to-markLen+1, 0)
}

// after is what was received behind the mark.
func (m *marked) after() []byte {
	if !m.ended {
		return nil
	}
	return m.buf[m.safe+markLen : m.to]
}
