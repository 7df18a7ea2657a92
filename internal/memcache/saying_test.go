package memcache

import (
	"bufio"
	"net"
	"strings"
	"time"
)

// said is a connection on which nothing is to be heard but one text.
type said struct{ *strings.Reader }

func (said) Write(b []byte) (int, error)      { return len(b), nil }
func (said) Close() error                     { return nil }
func (said) LocalAddr() net.Addr              { return nil }
func (said) RemoteAddr() net.Addr             { return nil }
func (said) SetDeadline(time.Time) error      { return nil }
func (said) SetReadDeadline(time.Time) error  { return nil }
func (said) SetWriteDeadline(time.Time) error { return nil }

func saying(text string) *conn {
	return &conn{Conn: said{strings.NewReader(text)}, in: bufio.NewReader(strings.NewReader(text)), stop: func() bool { return true }}
}
