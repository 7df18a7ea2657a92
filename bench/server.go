package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// patience bounds every single wait.
const patience = 5 * time.Minute

// server is an engine that a benchmark started itself, with nothing of Holdfast
// around it.
type server struct {
	build catalog.Build
	dir   string
	port  int
	// args come after the configuration file.
	args []string
	cmd  *exec.Cmd
	gone chan struct{}
	// ready is how long it took from the start of the process until PING was answered.
	ready time.Duration
}

// bare are the settings that decide speed, as Holdfast gives them to its nodes.
var bare = []string{
	"daemonize no", "protected-mode no", `save ""`, "appendonly no", "rdbcompression no", "rdbchecksum yes",
	"repl-diskless-sync yes", "repl-diskless-sync-delay 0", "io-threads 1",
}

// start starts an engine in dir, where it loads the dump.rdb if there is one.
// Lines of conf come after the settings that all have.
func (l *lab) start(ctx context.Context, b catalog.Build, dir string, conf ...string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{build: b, dir: dir, port: port, gone: make(chan struct{})}
	text := append([]string{"bind 127.0.0.1", "port " + strconv.Itoa(port), "dir " + strconv.Quote(dir)}, bare...)
	path := filepath.Join(dir, "engine.conf")
	if err := os.WriteFile(path, []byte(strings.Join(append(text, conf...), "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", b.Name, err)
	}
	began := time.Now()
	if err := s.exec(path); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", b.Name, err)
	}
	if err := s.awaitPing(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start %s: %w; its log:\n%s", b.Name, err, s.log()), s.stop())
	}
	s.ready = time.Since(began)
	return s, nil
}

func (s *server) exec(conf string) error {
	log, err := os.Create(s.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.build.Server, append([]string{conf}, s.args...)...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	s.cmd.Env = append(os.Environ(), s.build.Env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(s.cmd.SysProcAttr)
	started := make(chan error)
	go func() {
		// The kernel watches the thread that started the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // how it ends is in its log
			close(s.gone)
		}
	}()
	return <-started
}

// awaitPing returns once PING gets PONG: not while the data is being loaded.
func (s *server) awaitPing(ctx context.Context) error {
	return poll(ctx, time.Millisecond, func() (bool, error) {
		select {
		case <-s.gone:
			return false, errors.New("it ended")
		default:
		}
		c, err := net.Dial("tcp", s.addr())
		if err != nil {
			return false, nil
		}
		defer c.Close()
		if _, err := c.Write([]byte("PING\r\n")); err != nil {
			return false, nil
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		return line == "+PONG\r\n", nil
	})
}

func (s *server) addr() string          { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }
func (s *server) options() resp.Options { return resp.Options{Addr: s.addr()} }
func (s *server) logPath() string       { return filepath.Join(s.dir, "engine.log") }

func (s *server) log() string {
	b, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// do sends one command on a connection of its own and returns the text of the reply.
func (s *server) do(ctx context.Context, args ...string) (string, error) {
	c, err := resp.Dial(ctx, s.options())
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := c.Do(ctx, args...)
	if err != nil {
		return "", fmt.Errorf("cannot %s: %w", strings.Join(args, " "), err)
	}
	if r.Kind == resp.Int {
		return strconv.FormatInt(r.Int, 10), nil
	}
	return string(r.Bytes), nil
}

// stop kills the engine and its children. It may be called twice.
func (s *server) stop() error {
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot stop %s: %w", s.build.Name, err)
	}
	<-s.gone
	return nil
}

// freePort returns a port below those that the kernel gives to outgoing connections.
func freePort() (int, error) {
	var last error
	for range 200 {
		port := 12000 + rand.IntN(10000)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, ln.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("cannot find a free port: %w", last)
}

// poll asks again and again until the answer is yes.
func poll(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain: %w", ctx.Err())
		}
	}
}
