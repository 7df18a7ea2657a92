package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
)

// enter makes the directory ours.
func (b *Bridge) enter() (unlock func(), err error) {
	b.mu.Lock()
	was := b.running
	b.running = true
	b.mu.Unlock()
	if was {
		return nil, errors.New("a bridge runs once")
	}
	if b.state, err = loadState(b.opt.Dir); err != nil {
		return nil, err
	}
	return lockDir(b.opt.Dir)
}

// prepare looks at both servers and has the target follow us, if that can work.
func (b *Bridge) prepare(ctx context.Context) (err error) {
	f, err := sink.NewFollower(ctx, b.opt.Target, sink.FollowerOptions{
		ReplaceAll: b.opt.ReplaceAll, TakeReplicas: b.opt.TakeReplicas, Announce: b.opt.Announce, Certificate: b.opt.Certificate, Undo: b.state.Undo,
		Resume: func(replID string) bool { return b.state.ReplID != "" && replID == b.state.ReplID },
	})
	if err != nil {
		return err
	}
	b.to = f.Server()
	if err := b.look(ctx); err != nil {
		return errors.Join(fmt.Errorf("there is no bridge from %s to %s: %w", b.opt.Source, b.opt.Target, err), f.Close())
	}
	b.target.Lock()
	b.follower = f
	b.target.Unlock()
	info, err := f.Info(ctx, "stats")
	if err != nil {
		return errors.Join(err, f.Close())
	}
	b.errors = number(info["unexpected_error_replies"])
	err = f.Attach(ctx)
	b.state.Undo = f.Undo()
	if err != nil {
		return errors.Join(err, f.Release(ctx), f.Close())
	}
	return b.state.save()
}

// leave hangs up. The target remains as it is.
func (b *Bridge) leave() error {
	b.target.Lock()
	defer b.target.Unlock()
	if b.waiting != nil {
		_ = b.waiting.Close() // it is told nothing
	}
	f := b.follower
	b.follower = nil
	return f.Close()
}

// look asks both servers whether they can be joined.
func (b *Bridge) look(ctx context.Context) (err error) {
	src, err := resp.Dial(ctx, b.opt.Source.WithDB(0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := resp.Dial(ctx, b.opt.Target.WithDB(0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if b.from, err = src.Server(ctx); err != nil {
		return err
	}
	if b.from.Mode == "cluster" {
		return errors.New("the source is in cluster mode; a migration by reading does that")
	}
	if b.words, err = newVocabulary(ctx, dst, b.from, b.to); err != nil {
		return err
	}
	a, err := infoOf(ctx, src)
	if err != nil {
		return err
	}
	t, err := infoOf(ctx, dst)
	if err != nil {
		return err
	}
	if a["run_id"] == t["run_id"] {
		return errors.New("source and target are the same server")
	}
	return b.fits(ctx, src, dst, a, t)
}

// fits looks at what the source holds.
func (b *Bridge) fits(ctx context.Context, src, dst *resp.Conn, a, t map[string]string) error {
	if need, limit := number(a["used_memory_dataset"]), number(t["maxmemory"]); limit > 0 && need > limit {
		return fmt.Errorf("the source's data take %d bytes, and maxmemory of the target is %d", need, limit)
	}
	holdsFieldTTLs := b.to.Engine == "redis" && (b.to.Major > 7 || b.to.Major == 7 && b.to.Minor >= 4) || b.to.Engine == "valkey" && b.to.Major >= 9
	highest := -1
	for name, text := range a {
		db, isDB := strings.CutPrefix(name, "db")
		n, err := strconv.Atoi(db)
		if !isDB || err != nil {
			continue
		}
		highest = max(highest, n)
		for field := range strings.SplitSeq(text, ",") {
			what, count, _ := strings.Cut(field, "=")
			if (what == "subexpiry" || what == "keys_with_volatile_items") && number(count) > 0 && !holdsFieldTTLs {
				return fmt.Errorf("database %d holds %s hashes with field TTLs, which %s does not have", n, count, b.to)
			}
		}
	}
	r, err := dst.Do(ctx, "CONFIG", "GET", "databases")
	if err != nil {
		return err
	}
	if len(r.Elems) == 2 {
		if b.words.databases = int(number(string(r.Elems[1].Bytes))); highest >= b.words.databases {
			return fmt.Errorf("the source has a database %d, and the target has %d databases", highest, b.words.databases)
		}
	}
	return b.fitFunctions(ctx, src)
}

func (b *Bridge) fitFunctions(ctx context.Context, src *resp.Conn) error {
	if b.to.AtLeast(7, 0) {
		return nil
	}
	r, err := src.Do(ctx, "FUNCTION", "LIST")
	if err == nil && len(r.Elems) > 0 {
		return fmt.Errorf("the source has %d libraries of functions, which %s does not have", len(r.Elems), b.to)
	}
	if resp.IsServerError(err) {
		return nil
	}
	return err
}

func infoOf(ctx context.Context, conn *resp.Conn) (map[string]string, error) {
	r, err := conn.Do(ctx, "INFO")
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for name, value := range resp.InfoFields(r.Bytes) {
		m[name] = value
	}
	return m, nil
}

// number is that of a field of INFO, 0 where there is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
