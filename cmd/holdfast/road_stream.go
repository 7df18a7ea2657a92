package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
)

// A replica's road between two servers can go on to the target as a primary's: what
// the source streams is the file that the target would load if it were its replica, so
// it gets the bytes as they come. That takes the time of such a synchronization, and a
// fraction of what commands take.

// following is a target that waits for what the source streams.
type following struct {
	to *sink.Primary
	// asIs: it loads the source's file as that is.
	asIs bool
}

// close lets the target go where nothing came; whoever fills it does so too.
func (f *following) close() error {
	if f == nil {
		return nil
	}
	return f.to.Close()
}

// followUs makes the target follow us, where nothing speaks against it; nil says that it
// is filled with commands, and the report why. The source has not been asked for
// anything yet, so there is nothing that would have to wait or be asked for again.
func (m *movement) followUs(ctx context.Context, r *road) (*following, error) {
	if r.name != roadReplica {
		return nil, nil
	}
	f, err := m.mayFollow(ctx)
	if err == nil {
		m.rep.Into = &intoReport{Road: intoReplica}
		return f, nil
	}
	if !errors.Is(err, sink.ErrNoReplicaOf) {
		return nil, fmt.Errorf("nothing was moved: %w", err)
	}
	m.rep.Into = &intoReport{Road: intoRestore, Why: err.Error()}
	return nil, nil
}

func (m *movement) mayFollow(ctx context.Context) (_ *following, err error) {
	if why := m.againstStream(); why != "" {
		return nil, fmt.Errorf("%w: %s", sink.ErrNoReplicaOf, why)
	}
	from, to, err := m.bothServers(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.alone(ctx); err != nil {
		return nil, err
	}
	var opt sink.PrimaryOptions
	opt.Certificate = m.replicaCert
	dst, err := sink.NewPrimary(ctx, *m.dst.server, opt)
	if err != nil {
		return nil, err
	}
	f := &following{to: dst, asIs: loadsAsIs(from, to) && !m.flags.withoutFunctions}
	call := dst.Call
	if f.asIs {
		call = dst.CallAsIs
	}
	if err := call(ctx); err != nil {
		return nil, errors.Join(err, dst.Close())
	}
	return f, nil
}

// againstStream says what speaks against it before either server was asked.
func (m *movement) againstStream() string {
	switch {
	case m.mine != nil:
		return "the server is not empty"
	case m.src.view != nil:
		return "some keys are left out or renamed"
	case m.pace != nil:
		return "the server would be loading for as long as the pace makes it"
	}
	return ""
}

// bothServers looks at both, and refuses what a loading engine ends itself over, or
// what is several servers.
func (m *movement) bothServers(ctx context.Context) (from, to resp.Server, err error) {
	refuse := func(format string, args ...any) (resp.Server, resp.Server, error) {
		return from, to, fmt.Errorf("%w: %w", sink.ErrNoReplicaOf, fmt.Errorf(format, args...))
	}
	if from, err = lookAt(ctx, *m.src.server); err != nil {
		return from, to, err
	}
	if to, err = lookAt(ctx, *m.dst.server); err != nil {
		return from, to, err
	}
	if from.Mode != "standalone" || to.Mode != "standalone" {
		return refuse("it is filled so from a server into a server, and neither may be in cluster mode")
	}
	known := slices.Clone(dataless)
	for i, opt := range []*resp.Options{m.dst.server, m.src.server} {
		names, err := modulesOf(ctx, *opt)
		switch {
		case resp.IsServerError(err):
			return refuse("which modules there are cannot be told: %w", err)
		case err != nil:
			return from, to, err
		case i == 0:
			known = append(known, names...)
			continue
		}
		for _, name := range names {
			if !slices.Contains(known, name) {
				return refuse("an engine ends itself over data of a module that it lacks, and the source has the module %s", name)
			}
		}
	}
	return from, to, nil
}

// dataless are modules that are part of an engine and have no data.
var dataless = []string{"lua"}

func modulesOf(ctx context.Context, opt resp.Options) ([]string, error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return loadedModules(ctx, conn)
}

// loadsAsIs tells whether one server loads what another of its kind has written: the
// same version, or a later one.
func loadsAsIs(from, to resp.Server) bool {
	return from.Engine == to.Engine && slices.Contains([]string{"redis", "valkey"}, from.Engine) &&
		(from.Major < to.Major || from.Major == to.Major && from.Minor <= to.Minor)
}

// fillFrom moves everything that was read of a server into the target.
func (m *movement) fillFrom(ctx context.Context, from serverSource, f *following, total int64) error {
	stream, ok := from.(*replicaSource)
	switch {
	case f == nil || !ok:
		return m.fill(ctx, from, from.Functions, total)
	case f.asIs:
		return m.passOn(ctx, stream, f.to, total)
	}
	err := m.fillReplica(ctx, f.to, stream, stream.Functions, total)
	var lost *rdb.LossError
	if errors.As(err, &lost) {
		err = fmt.Errorf("%w; %s", err, withoutLoss(string(lost.What)))
	}
	return err
}

// passOn hands on what the source streams. It is decoded first, piece by piece, so that
// a server never gets what is broken, over which it might end itself: of a stream that is
// cut or wrong, or whose checksum is, the last piece stays here. And the keys are counted that
// the target has to have in the end.
func (m *movement) passOn(ctx context.Context, from *replicaSource, to *sink.Primary, total int64) error {
	began := time.Now()
	late := &behind{pass: func(b []byte) error { return to.Pass(ctx, b) }}
	from.tee = late
	keys, err := m.countPassing(ctx, from, total)
	if err == nil {
		err = late.flush()
	}
	if late.err != nil {
		return errors.Join(fmt.Errorf("cannot write to the target: %w", late.err), to.Close())
	}
	if err != nil {
		if cerr := to.Close(); cerr != nil {
			return fmt.Errorf("cannot read the source: %w; %w", err, cerr)
		}
		return fmt.Errorf("cannot read the source: %w; %s is a primary again, and keeps nothing of what came", err, m.dst.name)
	}
	to.Passed(keys)
	if err := errors.Join(to.Commit(ctx), to.Close()); err != nil {
		return fmt.Errorf("cannot commit the target: %w", err)
	}
	m.rep.Functions = len(from.Functions())
	m.rep.timing = newTiming(time.Since(began), m.rep.Keys)
	return nil
}

// behind hands on each piece when the next one comes, which whoever decodes them asks
// for when it is through with the one before.
type behind struct {
	pass func([]byte) error
	held []byte
	err  error
}

// Write hands on what it was given before.
func (l *behind) Write(b []byte) (int, error) {
	if err := l.flush(); err != nil {
		return 0, err
	}
	l.held = append(l.held[:0], b...)
	return len(b), nil
}

func (l *behind) flush() error {
	if len(l.held) > 0 && l.err == nil {
		l.err = l.pass(l.held)
		l.held = l.held[:0]
	}
	return l.err
}

// countPassing reads a source to its end and counts its keys by database.
func (m *movement) countPassing(ctx context.Context, from *replicaSource, total int64) (map[int]int64, error) {
	keys := map[int]int64{}
	for e, err := range from.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		n := int64(e.Size())
		if e.Body != nil {
			size, err := io.Copy(io.Discard, e.Body)
			if err != nil {
				return nil, err
			}
			n += size
		} else if sink.EmptyCollection(e.Type, e.Value) {
			continue // no engine keeps it
		}
		keys[e.DB]++
		m.rep.Bytes += n
		if m.rep.Keys++; m.rep.Keys&4095 == 0 {
			m.steps.at("write", m.rep.Keys, total, 0)
			m.steps.bytes(m.rep.Bytes)
		}
	}
	return keys, nil
}
