package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// generateFlags are a shape as the command line gives it; what is not given
// stays as the preset has it.
type generateFlags struct {
	preset, types   string
	keys            int64
	databases, size int
	ttlShare        float64
	ttlMin, ttlMax  time.Duration
	seed            uint64
	resp            bool
}

func newGenerateCmd() *cobra.Command {
	var (
		acc access
		g   generateFlags
		out output
	)
	cmd := &cobra.Command{
		Use:   "generate END",
		Short: "Fill an end with made-up data of a stated shape",
		Long: `Generate makes up keys and writes them to a server or an RDB file. The same
flags give the same data; --seed chooses another. The preset "mixed" has strings,
hashes, lists, sets, sorted sets and streams, one key in five with a TTL; the preset
"playground" has strings of 256 letters under keys of 32 hexadecimal digits. TTLs
count from the beginning of the current day (UTC).

Keys that a server has already stay, unless they have the same name.

` + endsHelp,
		Example: `  holdfast generate redis://127.0.0.1:6379 --keys 1000000 --databases 2
  holdfast generate --resp - --preset playground | redis-cli --pipe
  holdfast generate test.rdb --types string=80,hash=20 --ttl-share 0.5`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			shape, err := g.shape(cmd)
			if err != nil {
				return err
			}
			return runGenerate(cmd, &acc, args[0], shape, &g, &out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&g.preset, "preset", "mixed", "shape to start from: "+strings.Join(source.Presets(), " or "))
	f.Int64Var(&g.keys, "keys", 0, "number of keys (default 1000000)")
	f.IntVar(&g.databases, "databases", 0, "number of databases to spread them over (default 1)")
	f.IntVar(&g.size, "value-bytes", 0, "mean size of a value (default 100; playground 256)")
	f.StringVar(&g.types, "types", "", "shares of types, as string=50,hash=15,list=10,set=10,zset=10,stream=5")
	f.Float64Var(&g.ttlShare, "ttl-share", 0, "share of keys with a TTL, 0 to 1 (default 0.2; playground 0)")
	f.DurationVar(&g.ttlMin, "ttl-min", 0, "shortest TTL (default 48h)")
	f.DurationVar(&g.ttlMax, "ttl-max", 0, "longest TTL (default 720h)")
	f.Uint64Var(&g.seed, "seed", 1, "chooses one of many data sets of the same shape")
	f.BoolVar(&g.resp, "resp", false, "write commands for redis-cli --pipe instead of an RDB file")
	acc.addFlag(cmd)
	out.addFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("preset", cobra.FixedCompletions(source.Presets(), cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	return cmd
}

// shape applies the flags that were given to the preset.
func (g *generateFlags) shape(cmd *cobra.Command) (source.Shape, error) {
	s, err := source.Preset(g.preset, time.Now())
	if err != nil {
		return s, usageError{err}
	}
	given := cmd.Flags().Changed
	s.Seed = g.seed
	if given("keys") {
		s.Keys = g.keys
	}
	if given("databases") {
		s.Databases = g.databases
	}
	if given("value-bytes") {
		s.ValueBytes = g.size
	}
	if given("ttl-share") {
		s.TTLShare = g.ttlShare
	}
	if given("ttl-min") {
		s.TTLMin = g.ttlMin
		s.TTLMax = max(s.TTLMax, s.TTLMin)
	}
	if given("ttl-max") {
		s.TTLMax = g.ttlMax
		if !given("ttl-min") {
			s.TTLMin = min(s.TTLMin, s.TTLMax)
		}
	}
	if given("types") {
		if s.Types, err = parseShares(g.types); err != nil {
			return s, usageError{err}
		}
	}
	if err := s.Validate(); err != nil {
		return s, usageError{err}
	}
	return s, nil
}

// parseShares reads string=50,hash=15.
func parseShares(text string) ([]source.Share, error) {
	var out []source.Share
	for part := range strings.SplitSeq(text, ",") {
		name, weight, ok := strings.Cut(part, "=")
		n, err := strconv.Atoi(weight)
		if !ok || err != nil || n < 0 {
			return nil, fmt.Errorf("cannot read the share %q: write it as string=50", part)
		}
		class := rdb.ClassUnknown
		for c := range rdb.Classes {
			if c.String() == name {
				class = c
			}
		}
		if class == rdb.ClassUnknown {
			return nil, fmt.Errorf("there is no type %q", name)
		}
		out = append(out, source.Share{Class: class, Weight: n})
	}
	return out, nil
}

// generatedHeader is that of files that every engine since Redis 5 loads.
var generatedHeader = rdb.HeaderOf(9)

func runGenerate(cmd *cobra.Command, acc *access, where string, shape source.Shape, g *generateFlags, out *output) (err error) {
	ctx := cmd.Context()
	src, err := source.NewGenerate(shape)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, name, err := g.target(cmd, acc, where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	p := newProgress(cmd.ErrOrStderr(), "generate", shape.Keys)
	defer p.Done()
	began := time.Now()
	stats, err := flow.Run(ctx, src, dst, flow.Options{Progress: func(s flow.Stats) { p.Set(s.Keys) }})
	took := time.Since(began)
	p.Done()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	// Standard output may be the data.
	w := cmd.OutOrStdout()
	if where == "-" {
		w = cmd.ErrOrStderr()
	}
	return printGenerated(w, name, stats, took, out)
}

// target is where the data goes.
func (g *generateFlags) target(cmd *cobra.Command, acc *access, where string) (flow.Sink, string, error) {
	if !g.resp {
		e, err := acc.parse(where, cmd.ErrOrStderr())
		if err != nil {
			return nil, "", err
		}
		if e.db >= 0 {
			return nil, "", usageError{fmt.Errorf("%s names a database; generate fills databases from 0 on, see --databases", e.name)}
		}
		dst, err := e.create(cmd.Context(), generatedHeader)
		return dst, e.name, err
	}
	if where == "-" {
		return sink.NewRESP(cmd.OutOrStdout()), "standard output", nil
	}
	if strings.Contains(where, "://") {
		return nil, "", usageError{errors.New("--resp writes to a file or to standard output (-)")}
	}
	f, err := sink.File(where)
	if err != nil {
		return nil, "", err
	}
	return &respFile{RESP: sink.NewRESP(f), f: f}, where, nil
}

// respFile is a file of commands, which appears when it is whole.
type respFile struct {
	*sink.RESP
	f sink.Target
}

// Commit writes what is left and gives the file its name.
func (r *respFile) Commit(ctx context.Context) error {
	if err := r.RESP.Commit(ctx); err != nil {
		return err
	}
	return r.f.Commit(ctx)
}

// Close leaves nothing behind unless the file was committed.
func (r *respFile) Close() error { return r.f.Abort() }

func printGenerated(w io.Writer, name string, s flow.Stats, took time.Duration, out *output) error {
	t := newTiming(took, s.Keys)
	if out.json() {
		return printJSON(w, struct {
			Target string `json:"target"`
			Keys   int64  `json:"keys"`
			Bytes  int64  `json:"bytes"`
			timing
		}{name, s.Keys, s.Bytes, t})
	}
	_, err := fmt.Fprintf(w, "%s keys, %s bytes to %s in %s, %s keys/s\n",
		thousands(s.Keys), thousands(s.Bytes), name, seconds(took), thousands(t.KeysPerSecond))
	if err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}
