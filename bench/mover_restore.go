package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

func benchRestore(ctx context.Context, l *lab) error {
	for _, b := range l.engines() {
		for _, d := range []dataset{setA, setB} {
			if err := l.restoreRows(ctx, b, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) restoreRows(ctx context.Context, b catalog.Build, d dataset) (err error) {
	f, err := l.file(ctx, b, d)
	if err != nil {
		return err
	}
	s, err := l.empty(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(), os.RemoveAll(s.dir)) }()
	commands, n, err := encodeRestores(ctx, f, s.dir)
	if err != nil {
		return err
	}
	on, full := []*server{s}, func() error { return s.holds(ctx, f.keys) }
	pieces := []piece{
		counting(on, s.flush(ctx), func() error { return pour(ctx, s.addr(), commands, n) }).also(full),
		l.running(ctx, on, s.flush(ctx), "restore", "--no-verify", f.path, s.url()).also(full),
		counting(on, s.flush(ctx), func() error { return fillAsReplica(ctx, s, f) }).also(full),
		func() (cost, error) {
			took, err := l.engineLoad(ctx, b, d)
			return cost{took: took}, err
		},
	}
	if d.name == setA.name && b.CLI != "" {
		sets := filepath.Join(s.dir, "sets")
		if err := l.writeCommands(ctx, d, sets); err != nil {
			return err
		}
		pieces = append(pieces, counting(on, s.flush(ctx), func() error { return pipe(ctx, s, sets) }).also(full))
	}
	got, err := l.rounds(ctx, pieces...)
	if err != nil {
		return err
	}
	what := b.Name + ", " + d.name
	row := flowRow{What: what, Keys: f.keys, LimitIs: "pre-encoded RESTORE", Target: 0.85}
	l.flow(row, got[1], got[0])
	if len(got) > 4 {
		row.LimitIs, row.Target = filepath.Base(b.CLI)+" --pipe of SET from a file", 0
		l.flow(row, got[1], got[4])
	}
	row.What, row.LimitIs, row.Target = what+", told REPLICAOF", "pre-encoded RESTORE", 2
	l.flow(row, got[2], got[0])
	row.LimitIs, row.Target = "its own load", 0
	l.flow(row, got[2], got[3])
	return nil
}

// empty starts an engine without data.
func (l *lab) empty(ctx context.Context, b catalog.Build) (*server, error) {
	dir, err := l.mkdir("empty")
	if err != nil {
		return nil, err
	}
	return l.start(ctx, b, dir)
}

// encodeRestores writes the RESTORE commands of a file's entries to another, and
// says how many they are: the limit shall not have to encode anything.
func encodeRestores(ctx context.Context, f dataFile, dir string) (path string, commands int64, err error) {
	path = filepath.Join(dir, "restores")
	out, err := os.Create(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := bufio.NewWriterSize(out, 1<<20)
	src := source.NewRDB(source.File(f.path))
	defer src.Close()
	var cmd, payload []byte
	for e, err := range src.Entries(ctx) {
		if err != nil {
			return "", 0, err
		}
		payload = rdb.AppendDump(payload[:0], e.Type, e.Value, e.Version)
		cmd = resp.AppendString(resp.AppendArray(cmd[:0], 5), "RESTORE")
		cmd = resp.AppendInt(resp.AppendBulk(cmd, e.Key), e.ExpireAt)
		cmd = resp.AppendString(resp.AppendBulk(cmd, payload), "ABSTTL")
		if _, err := w.Write(cmd); err != nil {
			return "", 0, err
		}
		commands++
	}
	return path, commands, w.Flush()
}

// pour sends a file of commands as fast as the server takes them and looks at
// nothing but the number of the replies, and that none is an error: the least that
// filling a server with them can take.
func pour(ctx context.Context, addr, path string, commands int64) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, in)
		sent <- err
	}()
	err = countReplies(c, commands)
	if err != nil {
		_ = c.Close() // the sender must not wait for a server that nobody listens to
	}
	return errors.Join(err, <-sent)
}

// countReplies reads as many replies of one line.
func countReplies(r io.Reader, want int64) error {
	buf := make([]byte, 64<<10)
	for got := int64(0); got < want; {
		n, err := r.Read(buf)
		if err != nil {
			return fmt.Errorf("only %d of %d replies came: %w", got, want, err)
		}
		if at := bytes.IndexByte(buf[:n], '-'); at >= 0 {
			return fmt.Errorf("the server answered %.200q", buf[at:n])
		}
		got += int64(bytes.Count(buf[:n], []byte{'\n'}))
	}
	return nil
}

// fillAsReplica makes the server our replica for as long as it takes to load a file.
func fillAsReplica(ctx context.Context, s *server, f dataFile) error {
	src := source.NewRDB(source.File(f.path))
	defer src.Close()
	dst, err := sink.NewPrimary(ctx, s.options(), sink.PrimaryOptions{})
	if err != nil {
		return err
	}
	stats, err := flow.Run(ctx, src, dst, flow.Options{})
	if err := errors.Join(err, dst.Close()); err != nil {
		return err
	}
	return counted(stats.Keys, f.keys)
}

// fullSync is how long a server takes as the replica of another until its link is up.
func fullSync(ctx context.Context, from, to *server) (time.Duration, error) {
	began := time.Now()
	if _, err := to.do(ctx, "REPLICAOF", "127.0.0.1", fmt.Sprint(from.port)); err != nil {
		return 0, err
	}
	c, err := resp.Dial(ctx, to.options())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	err = poll(ctx, look, func() (bool, error) {
		r, err := c.Do(ctx, "INFO", "replication")
		if err != nil {
			return false, nil // it is loading, or has just begun to
		}
		for name, value := range resp.InfoFields(r.Bytes) {
			if name == "master_link_status" {
				return value == "up", nil
			}
		}
		return false, nil
	})
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("%s does not become a replica of %s: %w", to.build.Name, from.build.Name, err)
	}
	_, err = to.do(ctx, "REPLICAOF", "NO", "ONE")
	return took, err
}
