package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// The roads by which a server's data are had as of one instant.
const (
	roadAuto     = "auto"
	roadReplica  = "replica"
	roadCommands = "commands"
)

// road is the choice of one of them.
type road struct {
	name   string
	among  []string
	perKey bool
	// through: what commands read may be handed on before the instant is fixed; see source.LiveOptions.
	through bool
}

func (r *road) addFlags(cmd *cobra.Command, usage string, among ...string) {
	r.name, r.among = among[0], among
	cmd.Flags().Var(r, "from", usage)
	cmd.Flags().BoolVar(&r.perKey, "allow-per-key", false, "accept keys of different instants where one instant cannot be had")
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions(among, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
}

// Set, String and Type make it a flag.
func (r *road) Set(s string) error {
	for _, name := range r.among {
		if s == name {
			r.name = s
			return nil
		}
	}
	return fmt.Errorf("it must be one of %v", r.among)
}
func (r *road) String() string { return r.name }
func (r *road) Type() string   { return "ROAD" }

// check refuses what cannot be done for an end that is read.
func (r *road) check(e *end) error {
	switch {
	case e.server == nil:
		return usageError{fmt.Errorf("%s is no server, and only a server is read here", e.name)}
	case e.db >= 0:
		return usageError{fmt.Errorf("%s names a database, and all databases are moved together; leave the number out", e.name)}
	case e.rate.Limited() && r.name == roadReplica:
		return usageError{errors.New("--max-keys-per-second and --max-bytes-per-second cannot be kept with --from replica: a snapshot that is read slowly keeps the server's fork alive and its memory growing")}
	}
	return nil
}

// serverSource is a server's data as of one instant, and what is known of it.
type serverSource interface {
	flow.Source
	// Functions are the libraries; they are known when the first entry is yielded.
	Functions() []rdb.FunctionLibrary
	// report is complete when Entries has ended.
	report() readReport
}

// readReport is how a server was read.
type readReport struct {
	Server      string `json:"server"`
	Road        string `json:"road"`
	Consistency string `json:"consistency"`
	// Means is how the instant was fixed.
	Means string     `json:"means"`
	At    *time.Time `json:"at,omitempty"`
	// ReplicationID and Offset name the instant on the road of a replica.
	ReplicationID string   `json:"replicationId,omitempty"`
	Offset        int64    `json:"replicationOffset,omitempty"`
	WritePauseMs  float64  `json:"writePauseMs"`
	Pauses        int      `json:"pauses"`
	Rounds        int      `json:"rounds"`
	Reread        int64    `json:"reread"`
	Inexact       int64    `json:"inexactExpiries"`
	Restarts      []string `json:"restarts"`
	Notes         []string `json:"notes"`
	// Missing is what the server has and is not read on this road.
	Missing []string `json:"notRead"`
}

// openServer begins to read a server. progress is told how far it is.
func (r *road) openServer(ctx context.Context, e *end, steps *phases) (serverSource, error) {
	if !e.shard {
		shards, err := shardsOf(ctx, *e.server)
		if err != nil {
			return nil, err
		}
		if len(shards) > 1 {
			return r.openShards(ctx, e, shards)
		}
	}
	return r.openOne(ctx, e, steps)
}

// openOne begins to read a single server; steps may be nil.
func (r *road) openOne(ctx context.Context, e *end, steps *phases) (serverSource, error) {
	var why string
	if r.name == roadReplica || r.name == roadAuto && !e.rate.Limited() {
		s, err := joinServer(ctx, *e.server)
		if err == nil || r.name == roadReplica || !errors.Is(err, source.ErrNoReplica) {
			return s, err
		}
		why = err.Error()
	}
	s := &commandsSource{why: why, strict: !r.perKey, Live: source.NewLive(*e.server, source.LiveOptions{
		Rate: int(e.rate.Keys), BytesRate: e.rate.Bytes, PointInTime: !r.perKey, Through: r.through && !e.shard,
		Progress: func(p source.LiveProgress) {
			if p.Phase != "yield" && !p.Through && steps != nil { // the writing is counted by whoever writes
				steps.at(p.Phase, p.Keys, p.Total, p.Dirty)
			}
		},
	})}
	return s, nil
}

// commandsSource reads with commands of ordinary clients.
type commandsSource struct {
	*source.Live
	why    string // the replica's road is closed; empty if it was not tried
	strict bool
}

// Functions are the libraries as of the instant.
func (s *commandsSource) Functions() []rdb.FunctionLibrary { return s.Report().Functions }

// advise adds to an error what could be done about it.
func advise(err error, s serverSource) error {
	c, ok := s.(*commandsSource)
	if ok && c.strict && errors.Is(err, source.ErrNoInstant) {
		return fmt.Errorf("%w; --allow-per-key does without one instant", err)
	}
	return err
}

func (s *commandsSource) report() readReport {
	l := s.Report()
	r := readReport{
		Server: l.Server.String(), Road: roadCommands, Consistency: string(l.Consistency),
		Means:        fmt.Sprintf("%s, %s", l.Capture, l.Cut),
		WritePauseMs: float64(l.Pause.Microseconds()) / 1000, Pauses: l.Pauses, Rounds: l.Rounds, Reread: l.Reread,
		Inexact: l.Inexact, Restarts: append([]string{}, l.Restarts...), Notes: append([]string{}, l.Notes...),
		Missing: []string{"idle times and access frequencies", "data of modules that belongs to no key"},
	}
	if !l.At.IsZero() {
		at := l.At.UTC()
		r.At = &at
	}
	if s.why != "" {
		r.Notes = append(r.Notes, "not read as a replica: "+s.why)
	}
	if l.Consistency == source.PerKey && l.Server.AtLeast(7, 0) {
		r.Missing = append(r.Missing, "functions")
	}
	return r
}

// replicaSource reads the stream that a replica gets. It is the RDB file that the
// server would write.
type replicaSource struct {
	*source.RDB
	body io.ReadCloser
	info source.Info
	// tee, if set, gets every byte of the stream.
	tee    io.Writer
	passed int64
}

func joinServer(ctx context.Context, opt resp.Options) (*replicaSource, error) {
	body, info, err := source.Snapshot(ctx, opt)
	if err != nil {
		return nil, err
	}
	return newReplicaSource(opt.String(), body, info), nil
}

func newReplicaSource(name string, body io.ReadCloser, info source.Info) *replicaSource {
	s := &replicaSource{body: body, info: info}
	s.RDB = source.NewRDB(source.Input{
		Name: "the snapshot of " + name,
		// Closing is for Close: what follows the file's end has to be read too.
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(s), nil },
	})
	return s
}

// Read passes on what it reads.
func (s *replicaSource) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.passed += int64(n)
	if n > 0 && s.tee != nil {
		if _, werr := s.tee.Write(p[:n]); werr != nil {
			return 0, fmt.Errorf("cannot write: %w", werr) // with bytes, it would be asked for again
		}
	}
	return n, err
}

// Entries yields the entries of a stream that must end where the file does.
func (s *replicaSource) Entries(ctx context.Context) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		for e, err := range s.RDB.Entries(ctx) {
			if !yield(e, err) || err != nil {
				return
			}
		}
		if _, err := io.Copy(io.Discard, s); err != nil {
			yield(nil, fmt.Errorf("cannot read the end of the snapshot: %w", err))
			return
		}
		if files := s.Files(); len(files) != 1 || files[0].Bytes != s.passed {
			yield(nil, errors.New("the snapshot goes on after its end"))
		}
	}
}

// Close leaves the server.
func (s *replicaSource) Close() error { return errors.Join(s.RDB.Close(), s.body.Close()) }

func (s *replicaSource) report() readReport {
	return readReport{
		Server: s.info.Server.String(), Road: roadReplica, Consistency: string(source.PointInTime), Means: "the server's own snapshot",
		ReplicationID: s.info.ReplID, Offset: s.info.Offset, Restarts: []string{}, Notes: []string{}, Missing: []string{},
	}
}

// withFunctions hands a sink the functions of a source before its entries.
type withFunctions struct {
	flow.Sink
	// begun tells that the sink was given something.
	begun bool
	list  func() []rdb.FunctionLibrary
	load  func(context.Context, rdb.FunctionLibrary) error
	done  int
}

func (s *withFunctions) pass(ctx context.Context) error {
	all := s.list()
	for _, f := range all[min(s.done, len(all)):] {
		s.begun = true
		if err := s.load(ctx, f); err != nil {
			return err
		}
		s.done++
	}
	return nil
}

// Write hands on the functions first.
func (s *withFunctions) Write(ctx context.Context, batch []flow.Entry) error {
	if err := s.pass(ctx); err != nil {
		return err
	}
	s.begun = true
	return s.Sink.Write(ctx, batch)
}

// Commit does so where there was no entry.
func (s *withFunctions) Commit(ctx context.Context) error {
	if err := s.pass(ctx); err != nil {
		return err
	}
	return s.Sink.Commit(ctx)
}
