package testkit

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
)

// Server is an engine that a test has started.
type Server struct {
	t     testing.TB
	Build catalog.Build
	Host  string // loopback
	Port  int
	Dir   string // working directory: configuration, log, dump.rdb

	fixedPort bool
	password  string
	primary   *Server
	cluster   bool
	extra     []string
	tls       *tls.Config // nil: it speaks in the clear

	running *process // nil while it does not run

	mu sync.Mutex // guards link
	*link
}

// Option changes how StartServer starts.
type Option func(*Server)

// Config adds lines to the configuration file, after those of testkit.
func Config(lines ...string) Option {
	return func(s *Server) { s.extra = append(s.extra, lines...) }
}

// Host makes the server listen on a loopback address other than 127.0.0.1, and
// connect from it.
func Host(ip string) Option { return func(s *Server) { s.Host = ip } }

// Port makes the server listen there instead of on a free port.
func Port(port int) Option { return func(s *Server) { s.Port, s.fixedPort = port, true } }

// Dir makes the server work in an existing directory instead of one of its own:
// it loads the dump.rdb there.
func Dir(dir string) Option { return func(s *Server) { s.Dir = dir } }

// ReplicaOf makes the server a replica. StartServer does not wait for the link: see WaitLink.
func ReplicaOf(primary *Server) Option { return func(s *Server) { s.primary = primary } }

// Cluster turns cluster mode on; the slots are the caller's to assign.
func Cluster() Option { return func(s *Server) { s.cluster = true } }

// Password protects the default user, and is what the server says as a replica.
// Do uses it.
func Password(p string) Option { return func(s *Server) { s.password = p } }

// StartServer starts a Redis or Valkey server without persistence (unless Config
// says otherwise) and waits until it serves. It is killed when the test ends.
func StartServer(t testing.TB, b catalog.Build, opts ...Option) *Server {
	t.Helper()
	if b.Engine == catalog.Memcached {
		t.Fatalf("StartServer starts Redis and Valkey, not %s", b.Name)
	}
	s := &Server{t: t, Build: b, Host: "127.0.0.1", link: &link{}}
	for _, o := range opts {
		o(s)
	}
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	t.Cleanup(s.end)
	// Another process may take a free port before the engine does.
	for try := 1; ; try++ {
		if !s.fixedPort {
			s.Port = freePort(t, s.Host)
		}
		err := s.start()
		if err == nil {
			return s
		}
		if s.fixedPort || try == 5 || !strings.Contains(s.Log(), "Address already in use") {
			t.Fatalf("%v; its log:\n%s", err, s.Log())
		}
	}
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Pid is the engine's process id; 0 while it does not run.
func (s *Server) Pid() int {
	if s.running == nil {
		return 0
	}
	return s.running.pid
}

// Log is everything the engine has printed since StartServer.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.logPath())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(b)
}

// Kill ends the engine by SIGKILL, with its children, and waits until it is gone.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.kill(); err != nil {
		s.t.Fatal(err)
	}
}

// Stop asks the engine to end (SIGTERM) and waits until it is gone.
func (s *Server) Stop() {
	s.t.Helper()
	if s.running == nil {
		return
	}
	if err := s.running.terminate(); err != nil {
		s.t.Fatalf("cannot stop %s: %v", s.Build.Name, err)
	}
	select {
	case <-s.running.gone:
		s.forget()
	case <-time.After(stopTimeout):
		s.t.Fatalf("%s does not stop; its log:\n%s", s.Build.Name, s.Log())
	}
}

// Restart stops the engine if it runs, and starts it at the same address, in the
// same directory, with the same configuration.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("%v; its log:\n%s", err, s.Log())
	}
}

// WaitLink waits until a replica has loaded its primary's data and follows it.
func (s *Server) WaitLink() {
	s.t.Helper()
	Wait(s.t, startTimeout, func() bool { return s.Info("replication")["master_link_status"] == "up" },
		"replica %s has no link; its log:\n%s", s.Addr(), logOf{s})
}

// logOf reads the log when it is printed, not before.
type logOf struct{ *Server }

func (l logOf) String() string { return l.Log() }

func (s *Server) logPath() string { return filepath.Join(s.Dir, "engine.log") }

// config is the configuration file.
func (s *Server) config() string {
	listen := "port " + strconv.Itoa(s.Port)
	if s.tls != nil {
		listen = "port 0\ntls-port " + strconv.Itoa(s.Port)
	}
	lines := []string{
		"bind " + s.Host, listen, "protected-mode no", "daemonize no",
		"dir " + strconv.Quote(s.Dir), `save ""`, "appendonly no", "repl-diskless-sync-delay 0",
	}
	if s.Build.DebugGuard {
		lines = append(lines, "enable-debug-command yes")
	}
	if s.Build.Rebind { // came together
		lines = append(lines, "bind-source-addr "+s.Host)
	}
	if s.password != "" {
		lines = append(lines, "requirepass "+strconv.Quote(s.password), "masterauth "+strconv.Quote(s.password))
	}
	if s.cluster {
		lines = append(lines, "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-announce-ip "+s.Host)
	}
	if s.primary != nil {
		lines = append(lines, fmt.Sprintf("replicaof %s %d", s.primary.Host, s.primary.Port))
	}
	return strings.Join(append(lines, s.extra...), "\n") + "\n"
}

// start starts the process and waits for it to answer PING; on an error nothing runs.
func (s *Server) start() error {
	path := filepath.Join(s.Dir, "engine.conf")
	if err := os.WriteFile(path, []byte(s.config()), 0o600); err != nil {
		return fmt.Errorf("cannot start %s: %w", s.Build.Name, err)
	}
	p, err := startProcess(s.Dir, s.logPath(), s.Build.Env, s.Build.Server, path)
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", s.Build.Name, err)
	}
	s.running = p
	var last error
	ready := poll(startTimeout, func() bool {
		last = s.ping()
		return last == nil || p.ended()
	})
	if ready && !p.ended() {
		return nil
	}
	if p.ended() {
		last = fmt.Errorf("it ended: %v", p.state())
	}
	if err := s.kill(); err != nil {
		return err
	}
	return fmt.Errorf("cannot start %s: %w", s.Build.Name, last)
}

// ping returns nil once the server serves (LOADING is an error reply), and it is
// ours: somebody else's may have taken the port a moment before.
func (s *Server) ping() error {
	reply, err := s.Try("PING")
	if err != nil {
		return err
	}
	if reply != "PONG" {
		return fmt.Errorf("PING answered %v", reply)
	}
	info, err := s.Try("INFO", "server")
	if err != nil {
		return err
	}
	if text, _ := info.(string); !strings.Contains(text, fmt.Sprintf("\r\nprocess_id:%d\r\n", s.running.pid)) {
		s.hangUp()
		return fmt.Errorf("another server than process %d answers at %s", s.running.pid, s.Addr())
	}
	return nil
}

func (s *Server) kill() error {
	if s.running == nil {
		return nil
	}
	if err := s.running.kill(); err != nil {
		return fmt.Errorf("cannot kill %s: %w", s.Build.Name, err)
	}
	select {
	case <-s.running.gone:
	case <-time.After(stopTimeout):
		return fmt.Errorf("cannot kill %s: process %d does not end", s.Build.Name, s.running.pid)
	}
	s.forget()
	return nil
}

// forget drops what belonged to a process that is gone.
func (s *Server) forget() {
	s.running = nil
	s.hangUp()
}

// end is the cleanup.
func (s *Server) end() {
	failed := s.t.Failed()
	if err := s.kill(); err != nil {
		s.t.Error(err)
	}
	s.hangUp()
	if failed {
		s.t.Logf("log of %s at %s:\n%s", s.Build.Name, s.Addr(), tail(s.Log(), 4000))
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
