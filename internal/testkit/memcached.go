package testkit

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/engine/catalog"
)

// MemcachedLines are the lines of Memcached that tests run against.
var MemcachedLines = []string{"memcached-1.6.18", "memcached-1.6.38"}

// Memcached is one that a test has started.
type Memcached struct {
	t       testing.TB
	Build   catalog.Build
	Socket  string // path of the Unix socket where it listens, and nowhere else
	Dir     string
	args    []string
	running *process
}

// StartMemcached starts memcached with further arguments and waits until it answers. It is
// killed when the test ends.
func StartMemcached(t testing.TB, b catalog.Build, args ...string) *Memcached {
	t.Helper()
	// The name of a socket may not be long.
	dir, err := os.MkdirTemp("", "mc")
	if err != nil {
		t.Fatal(err)
	}
	m := &Memcached{t: t, Build: b, Dir: dir, Socket: filepath.Join(dir, "s"), args: args}
	t.Cleanup(func() {
		m.Kill()
		_ = os.RemoveAll(dir)
	})
	m.Start()
	return m
}

// Start starts it again, as it was.
func (m *Memcached) Start() {
	m.t.Helper()
	args := append([]string{"-s", m.Socket, "-a", "0600", "-U", "0", "-t", "2"}, m.args...)
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	p, err := startProcess(m.Dir, filepath.Join(m.Dir, "log"), m.Build.Env, m.Build.Server, args...)
	if err != nil {
		m.t.Fatalf("cannot start %s: %v", m.Build.Name, err)
	}
	m.running = p
	var last error
	if !poll(startTimeout, func() bool { last = m.ping(); return last == nil || p.ended() }) || last != nil {
		log, _ := os.ReadFile(filepath.Join(m.Dir, "log"))
		m.t.Fatalf("%s does not answer: %v; its log:\n%s", m.Build.Name, last, log)
	}
}

// Kill ends it by SIGKILL and waits until it is gone.
func (m *Memcached) Kill() {
	if m.running == nil {
		return
	}
	if err := m.running.kill(); err != nil {
		m.t.Errorf("cannot kill %s: %v", m.Build.Name, err)
	}
	<-m.running.gone
	m.running = nil
}

// ping asks for anything at all: one that wants a password first refuses, and so answers.
func (m *Memcached) ping() error {
	c, err := net.DialTimeout("unix", m.Socket, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	ask := "version\r\n"
	for _, a := range m.args {
		if a == "-S" { // it speaks the binary protocol alone: a no-op
			ask = "\x80\x0a" + strings.Repeat("\x00", 22)
		}
	}
	if _, err := c.Write([]byte(ask)); err != nil {
		return err
	}
	b, err := bufio.NewReader(c).ReadByte()
	if err == nil && b == 0 {
		err = fmt.Errorf("it says %q", b)
	}
	return err
}
