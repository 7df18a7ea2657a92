package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// How a server is filled from files: intoRestore, intoReplica, or the better one.
const intoAuto = "auto"

// intoReport is how the target was filled.
type intoReport struct {
	Road string `json:"road"`
	// Why the other road was not taken; empty where none was asked for.
	Why string `json:"why,omitempty"`
}

func (r *intoReport) print(b *strings.Builder) {
	if r.Road == intoReplica {
		b.WriteString("filled as our replica (REPLICAOF)\n")
		return
	}
	b.WriteString("filled by RESTORE and SET\n")
	if r.Why != "" {
		fmt.Fprintf(b, "  not as our replica: %s\n", strings.TrimPrefix(r.Why, "nothing was moved: "))
	}
}

// newInto is the flag --into of restore.
func newInto() word {
	return word{name: intoAuto, among: []string{intoAuto, intoRestore, intoReplica}}
}

const intoUsage = "how the server is filled: restore, or replica (it follows us for a moment and loads at its own speed); auto takes replica where the server is empty and nobody else is connected"

// fillBy fills the target on the road that was asked for, or on the better one.
func (m *movement) fillBy(ctx context.Context, into string, src *source.RDB, total int64) error {
	functions := src.Functions
	m.rep.Into = &intoReport{Road: intoRestore}
	if into == intoRestore {
		return m.fill(ctx, src, functions, total)
	}
	dst, err := m.asReplica(ctx, into)
	if err == nil {
		m.rep.Into.Road = intoReplica
		err = m.fillReplica(ctx, dst, src, functions, total)
	} else {
		err = fmt.Errorf("nothing was moved: %w", err)
	}
	if into == intoReplica || !errors.Is(err, sink.ErrNoReplicaOf) {
		return err
	}
	m.rep.Into.Why = err.Error()
	if m.rep.Into.Road == intoReplica {
		// It could not reach us. The first entries have been read, so the file is read anew.
		m.rep.Into.Road = intoRestore
		again, err := m.files(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = again.Close() }()
		src, functions = again, again.Functions
	}
	return m.fill(ctx, src, functions, total)
}

// asReplica makes the target ready to follow us. In auto it is not done behind anybody's back:
// clients would get LOADING, and a sentinel or an operator would see a primary vanish.
func (m *movement) asReplica(ctx context.Context, into string) (_ *sink.Primary, err error) {
	opt := sink.PrimaryOptions{Sizes: m.sizes}
	opt.Certificate = m.replicaCert
	if into == intoReplica {
		opt.ReplaceAll = m.flags.replace
		return sink.NewPrimary(ctx, *m.dst.server, opt)
	}
	if why := m.against(); why != "" {
		return nil, fmt.Errorf("%w: %s", sink.ErrNoReplicaOf, why)
	}
	if err := m.alone(ctx); err != nil {
		return nil, err
	}
	return sink.NewPrimary(ctx, *m.dst.server, opt)
}

// against says what speaks against REPLICAOF where it was not asked for.
func (m *movement) against() string {
	switch {
	case m.mine != nil:
		return "the server is not empty"
	case m.pace != nil:
		return "the server would be loading for as long as the pace makes it"
	case !m.src.rereadable() || m.counted == nil:
		return "what comes from standard input is not known to be whole beforehand"
	case len(m.src.files) > 1:
		return "several files may hold a key twice, over which a loading engine ends itself"
	case !m.checksummed:
		return "the file has no checksum"
	case m.counted.moduleAux > 0 || len(m.counted.modules) > 0:
		return "an engine ends itself over data of a module that it lacks"
	}
	return ""
}

// alone refuses a server to which others are connected.
func (m *movement) alone(ctx context.Context) (err error) {
	conn, err := resp.Dial(ctx, m.dst.server.WithDB(0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	r, err := conn.Do(ctx, "CLIENT", "LIST")
	if resp.IsServerError(err) {
		return fmt.Errorf("%w: whether others are connected cannot be told: %w", sink.ErrNoReplicaOf, err)
	}
	if err != nil {
		return err
	}
	others := 0
	for line := range strings.Lines(string(r.Bytes)) {
		if strings.TrimSpace(line) != "" && !strings.Contains(line, " name="+resp.DefaultName+" ") {
			others++
		}
	}
	if others > 0 {
		return fmt.Errorf("%w: %d others are connected to the server", sink.ErrNoReplicaOf, others)
	}
	return nil
}

// sizes is how many keys a database gets, where that is known.
func (m *movement) sizes(int) (keys, volatile int64) {
	if m.counted == nil || len(m.counted.dbs) != 1 {
		return -1, 0
	}
	return m.counted.keys, m.counted.volatile
}

// fillReplica moves everything into a server that follows us.
func (m *movement) fillReplica(ctx context.Context, to *sink.Primary, src flow.Source, functions func() []rdb.FunctionLibrary, total int64) (err error) {
	defer func() { err = errors.Join(err, to.Close()) }()
	dst := &withFunctions{Sink: to, list: func() []rdb.FunctionLibrary { return nil }}
	if !m.flags.withoutFunctions {
		dst.list, dst.load = functions, to.Function
		defer func() { m.rep.Functions = dst.done }()
	}
	err = m.pour(ctx, src, dst, total)
	m.rep.Reencoded = to.Transcoded().Reencoded
	return err // the sink's own error says what the server holds now
}
