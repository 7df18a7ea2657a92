package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/memcache"
)

// memcachedLine is what is measured, the newest build of it that is installed.
const memcachedLine = "memcached-1.6"

// nodes are memcached servers that a benchmark started itself.
type nodes struct {
	all []*server
	// as are they as the mover sees them.
	as []*memcache.Server
}

func (l *lab) memcached(ctx context.Context, b catalog.Build, n int) (_ *nodes, err error) {
	out := &nodes{}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.stop())
		}
	}()
	for range n {
		dir, err := l.mkdir("memcached")
		if err != nil {
			return out, err
		}
		port, err := freePort()
		if err != nil {
			return out, err
		}
		s := &server{build: b, dir: dir, port: port, gone: make(chan struct{})}
		s.args = []string{"127.0.0.1", "-p", strconv.Itoa(port), "-U", "0", "-t", "2", "-m", "1024"}
		if os.Getuid() == 0 {
			s.args = append(s.args, "-u", "root")
		}
		if err := s.exec("-l"); err != nil {
			return out, fmt.Errorf("cannot start %s: %w", b.Name, err)
		}
		out.all = append(out.all, s)
		as := &memcache.Server{Network: "tcp", Addr: s.addr()}
		out.as = append(out.as, as)
		err = poll(ctx, time.Millisecond, func() (bool, error) {
			_, err := memcache.ReadStats(ctx, as)
			return err == nil, nil
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (n *nodes) stop() error {
	var err error
	for _, s := range n.all {
		err = errors.Join(err, s.stop(), os.RemoveAll(s.dir))
	}
	return err
}

// memcachedItem is the n-th of what everything is measured with.
func memcachedItem(n int64) memcache.Item {
	return memcache.Item{Key: fmt.Appendf(nil, "session:%d", n), Value: fmt.Appendf(nil, "%0100d", n), Flags: uint32(n % 7)}
}

func benchMemcached(ctx context.Context, l *lab) error {
	b, ok := l.engine(memcachedLine)
	if !ok {
		return nil
	}
	if err := l.memcachedSpeed(ctx, b); err != nil {
		return err
	}
	return l.memcachedHits(ctx, b)
}

// memcachedSpeed measures the commands beside a bare pipeline that reads or writes the same items, knows their names
// beforehand, and looks at nothing.
func (l *lab) memcachedSpeed(ctx context.Context, b catalog.Build) (err error) {
	program, err := l.holdfast(ctx)
	if err != nil {
		return err
	}
	n, err := l.memcached(ctx, b, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	from, to := n.all[0].addr(), n.all[1].addr()
	reads, writes := filepath.Join(l.dir, "reads"), filepath.Join(l.dir, "writes")
	if err := errors.Join(l.memcachedCommands(reads, false), l.memcachedCommands(writes, true), throughPipe(from, writes)); err != nil {
		return err
	}
	file := filepath.Join(l.dir, "items")
	emptied := func(f func() error) timed {
		return func() (time.Duration, error) {
			if err := say(to, "flush_all\r\n", "OK"); err != nil {
				return 0, err
			}
			return elapsed(f)()
		}
	}
	holdfast := func(args ...string) func() error {
		return func() error {
			out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("holdfast %s: %w\n%s", args[0], err, out)
			}
			return nil
		}
	}
	src, dst := memcache.Scheme+from, memcache.Scheme+to
	got, err := l.alternate(ctx, l.opt.rounds,
		elapsed(func() error { return throughPipe(from, reads) }),
		emptied(func() error { return throughPipe(to, writes) }),
		elapsed(holdfast("backup", src, file)),
		emptied(holdfast("restore", file, dst, "--replace", "--no-verify")),
		emptied(holdfast("migrate", src, dst, "--replace", "--no-verify")),
		elapsed(holdfast("verify", src, dst)),
	)
	if err != nil {
		return err
	}
	for i, x := range []struct{ what, limitIs string }{
		{"backup", "mg of keys that are known, thrown away"},
		{"restore", "ms of a file of commands"},
		{"migrate", "the slower of both"},
		{"verify", "mg of keys that are known, thrown away"},
	} {
		limit := got[0]
		if x.what == "restore" || x.what == "migrate" && got[1].median() > got[0].median() {
			limit = got[1]
		}
		l.report.add(row{What: b.Name + ": " + x.what, Keys: l.keys(), Ours: got[2+i], LimitIs: x.limitIs, Limit: limit})
	}
	return errors.Join(os.Remove(reads), os.Remove(writes), os.Remove(file))
}

// memcachedCommands writes the commands that read or write all items, and the end of which a no-op tells.
func (l *lab) memcachedCommands(path string, write bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for i := range l.keys() {
		k := memcachedItem(i)
		if write {
			fmt.Fprintf(w, "ms %s %d q F%d\r\n%s\r\n", k.Key, len(k.Value), k.Flags, k.Value)
		} else {
			fmt.Fprintf(w, "mg %s f t c v u\r\n", k.Key)
		}
	}
	fmt.Fprint(w, "mn\r\n")
	return errors.Join(w.Flush(), f.Close())
}

// throughPipe sends a file on one connection and throws away what is answered, up to the no-op.
func throughPipe(addr, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	wrote := make(chan error, 1)
	go func() {
		_, err := f.WriteTo(c)
		wrote <- err
	}()
	if err := awaitLine(c, "MN"); err != nil {
		return errors.Join(err, c.Close(), <-wrote)
	}
	return <-wrote
}

// say gives a server a command and waits for the reply.
func say(addr, command, reply string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(command)); err != nil {
		return err
	}
	return awaitLine(c, reply)
}

func awaitLine(c net.Conn, want string) error {
	in := bufio.NewReaderSize(c, 256<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("no %s: %w", want, err)
		}
		if string(line) == want+"\r\n" {
			return nil
		}
	}
}
