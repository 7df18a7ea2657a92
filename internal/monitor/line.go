package monitor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast.dev/internal/cache"
)

// line is a connection to a node on which one question is asked at a time. It is not
// known to the runtime's poller, unless it is encrypted.
type line struct {
	fd     int // -1 for none
	secure *secureLine
	waits  bool
	// got is the beginning of an answer, as much as its kind takes.
	got [16]byte
	n   int
}

var (
	question = []byte("PING\r\n")
	errEnded = errors.New("the node has hung up")
	// errRefused: nobody takes connections at the node's address.
	errRefused = errors.New("the node takes no connections")
)

// open tells whether there is a connection.
func (l *line) open() bool { return l.fd >= 0 || l.secure != nil }

// ask sends the question. It fits into any buffer, so that a short write is an error.
func (l *line) ask() error {
	err := l.write()
	if err == nil {
		l.waits, l.n = true, 0
	}
	return err
}

func (l *line) write() error {
	if l.secure != nil {
		return l.secure.ask()
	}
	n, err := unix.Write(l.fd, question)
	if err == nil && n < len(question) {
		err = errEnded
	}
	return err
}

// hear takes what has come; NoReply while that is not a whole line.
func (l *line) hear() (Reply, error) {
	var buf [128]byte
	text, err := l.read(buf[:])
	if err != nil || len(text) == 0 {
		return NoReply, err
	}
	l.n += copy(l.got[l.n:], text)
	if bytes.IndexByte(text, '\n') < 0 {
		return NoReply, nil
	}
	l.waits = false
	return replyOf(l.got[:l.n]), nil
}

// read takes what is there; nothing if there is nothing yet.
func (l *line) read(buf []byte) ([]byte, error) {
	if l.secure != nil {
		return l.secure.hear()
	}
	n, err := unix.Read(l.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, err
	case n == 0:
		return nil, errEnded
	}
	return buf[:n], nil
}

// replyOf is the kind of an answer. Whatever it says, who said it lives.
func replyOf(text []byte) Reply {
	switch {
	case bytes.HasPrefix(text, []byte("-BUSY")):
		return BusyReply
	case bytes.HasPrefix(text, []byte("-LOADING")):
		return LoadingReply
	}
	return Pong
}

func (l *line) close() {
	if l.fd >= 0 {
		// That it cannot be closed changes nothing.
		_ = unix.Close(l.fd)
	}
	if l.secure != nil {
		l.secure.close()
	}
	*l = line{fd: -1}
}

// dialTime bounds making a connection, the first answer included.
const dialTime = 5 * time.Second

// dial connects, logs in and asks once.
func dial(ctx context.Context, login cache.Login) (l line, reply Reply, err error) {
	l.fd = -1
	raw, c, err := call(ctx, login)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return l, NoReply, errors.Join(errRefused, err)
	}
	if err != nil {
		return l, NoReply, err
	}
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })()
	err = raw.SetDeadline(time.Now().Add(dialTime))
	if err == nil {
		reply, err = greet(c, login)
	}
	if err == nil && login.TLS != nil {
		if err = raw.SetDeadline(time.Time{}); err == nil {
			l.secure = newSecureLine(raw, c.(*tls.Conn))
			return l, reply, nil
		}
	}
	defer raw.Close()
	if err != nil {
		return l, NoReply, err
	}
	l.fd, err = keep(raw.(*net.TCPConn))
	return l, reply, err
}

// greet logs in and returns the answer to the first question.
func greet(c net.Conn, login cache.Login) (Reply, error) {
	auth := fmt.Sprintf("*3\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(login.User), login.User, len(login.Password), login.Password)
	if _, err := c.Write(append([]byte(auth), question...)); err != nil {
		return NoReply, err
	}
	answers := bufio.NewReaderSize(c, 256)
	in, err := answers.ReadString('\n')
	if err != nil {
		return NoReply, err
	}
	if !strings.HasPrefix(in, "+OK") && !strings.HasPrefix(in, "-BUSY") && !strings.HasPrefix(in, "-LOADING") {
		return NoReply, errors.New("the node does not let us in")
	}
	pong, err := answers.ReadString('\n')
	if err != nil {
		return NoReply, err
	}
	if strings.HasPrefix(pong, "-NOAUTH") {
		return NoReply, os.ErrPermission // it was too busy to look at the password
	}
	return replyOf([]byte(pong)), nil
}

// keep takes a connection away from the runtime's poller; c may be closed then.
func keep(c *net.TCPConn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return -1, cerr
	}
	return fd, err
}
