package monitor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast.dev/internal/cache"
)

// line is a connection to a node on which one question is asked at a time. It is not
// known to the runtime's poller.
type line struct {
	fd    int // -1 for none
	waits bool
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

// ask sends the question. It fits into any buffer, so that a short write is an error.
func (l *line) ask() error {
	n, err := unix.Write(l.fd, question)
	if err == nil && n < len(question) {
		err = errEnded
	}
	if err != nil {
		return err
	}
	l.waits, l.n = true, 0
	return nil
}

// hear takes what has come; NoReply while that is not a whole line.
func (l *line) hear() (Reply, error) {
	var buf [128]byte
	n, err := unix.Read(l.fd, buf[:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return NoReply, nil
	case err != nil:
		return NoReply, err
	case n == 0:
		return NoReply, errEnded
	}
	l.n += copy(l.got[l.n:], buf[:n])
	if bytes.IndexByte(buf[:n], '\n') < 0 {
		return NoReply, nil
	}
	l.waits = false
	return replyOf(l.got[:l.n]), nil
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
		closeFD(l.fd)
	}
	*l = line{fd: -1}
}

// closeFD hangs up. That it fails changes nothing.
func closeFD(fd int) { _ = unix.Close(fd) }

// dialTime bounds making a connection, the first answer included.
const dialTime = 5 * time.Second

// dial connects, logs in and asks once.
func dial(ctx context.Context, login cache.Login) (fd int, reply Reply, err error) {
	d := net.Dialer{Timeout: dialTime}
	d.SetMultipathTCP(false) // a plain socket, next door
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(login.Address.Host, strconv.Itoa(login.Address.Port)))
	if errors.Is(err, syscall.ECONNREFUSED) {
		return -1, NoReply, errors.Join(errRefused, err)
	}
	if err != nil {
		return -1, NoReply, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if err := c.SetDeadline(time.Now().Add(dialTime)); err != nil {
		return -1, NoReply, err
	}
	if reply, err = greet(c, login); err != nil {
		return -1, NoReply, err
	}
	fd, err = keep(c.(*net.TCPConn))
	return fd, reply, err
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
