package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/verify"
)

func newVerifyCmd() *cobra.Command {
	var (
		acc  access
		out  output
		only selectFlags
		opt  verifyOptions
		mc   = newMemcachedFlags()
	)
	cmd := &cobra.Command{
		Use:   "verify A B",
		Short: "Tell whether two ends hold the same, and name the keys that differ",
		Long: `Verify reads two ends completely, whatever engine, version or encoding they
have, and compares every key: name, type, value, and when it expires. Exit code 0
means identical, 3 that something differs; the keys that differ are listed. On
live servers a difference is looked at again before it is reported.

` + selectHelp + `A is the source and B what it became: with --rename-prefix old:=new: the keys old:… of A
are compared with the keys new:… of B. Keys of B that no key of A becomes are left out.

` + endsHelp + memcachedHelp,
		Example: `  holdfast verify redis://10.0.0.1 valkey://10.0.0.2
  holdfast verify backup.rdb redis://127.0.0.1:6379 --output json`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opt.limit < 1 || opt.tolerance < 0 {
				return usageError{errors.New("--limit must be 1 or more, and --ttl-tolerance not negative")}
			}
			if anyMemcached(args) || isMemcachedFile(args[0]) {
				return mc.verify(cmd, &acc, opt, args, &out)
			}
			var ends [2]*end
			for i := range ends {
				var err error
				if ends[i], err = acc.parse(args[i], cmd.ErrOrStderr()); err != nil {
					return err
				}
			}
			if err := only.apply(ends[0], ends[1]); err != nil {
				return err
			}
			return runVerify(cmd, ends, opt, &out)
		},
	}
	acc.addReadFlags(cmd)
	only.addFlags(cmd)
	out.addFlag(cmd)
	cmd.Flags().IntVar(&opt.limit, "limit", 100, "list at most so many differing keys")
	cmd.Flags().DurationVar(&opt.tolerance, "ttl-tolerance", 0, "by how much expiries may differ (1ms more for each server before 7.0, which tells only the time left)")
	return cmd
}

// verifyOptions are what a comparison may be told.
type verifyOptions struct {
	limit     int
	tolerance time.Duration
}

func runVerify(cmd *cobra.Command, ends [2]*end, opt verifyOptions, out *output) (err error) {
	ctx := cmd.Context()
	opt.tolerance += expiryTolerance(ctx, ends[:]...)
	a, doneA := ends[0].verifyEnd()
	b, doneB := ends[1].verifyEnd()
	defer func() { err = errors.Join(err, doneA(), doneB()) }()
	bars := newProgressGroup(cmd.ErrOrStderr())
	both := [2]*progress{bars.start("A", ends[0].size(ctx)), bars.start("B", ends[1].size(ctx))}
	began := time.Now()
	report, err := verify.Compare(ctx, a, b, verify.CompareOptions{Limit: opt.limit, Tolerance: opt.tolerance, Progress: func(p verify.Progress) {
		// In a later pass, that looks closer at what differs, the count begins again.
		both[p.End].Set(p.Keys)
		both[p.End].SetBytes(p.Bytes)
	}})
	took := time.Since(began)
	both[0].Done()
	both[1].Done()
	bars.wait()
	if err != nil {
		return err
	}
	left := [2]*leftOut{ends[0].view.leftOut(), ends[1].view.leftOut()}
	if err := printReport(cmd.OutOrStdout(), report, took, left, out); err != nil {
		return err
	}
	if !report.Equal {
		return differs{}
	}
	return nil
}

// size is about how many keys an end has, 0 where only reading it tells. What
// keeps it from being told will keep it from being read.
func (e *end) size(ctx context.Context) int64 {
	if e.server == nil || e.view.narrows() {
		return 0
	}
	s := e.scan()
	defer s.Close()
	n, err := s.Len(ctx)
	if err != nil {
		return 0
	}
	return n
}

func printReport(w io.Writer, r *verify.Report, took time.Duration, left [2]*leftOut, out *output) error {
	keys := max(r.A.Totals().Keys, r.B.Totals().Keys)
	if out.json() {
		return printMerged(w, r, newTiming(took, keys), struct {
			LeftOut *[2]*leftOut `json:"leftOut,omitempty"`
		}{atLeastOne(left)})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\tA\tB\n")
	printTotals(t, r.A, r.B)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	for i, l := range left {
		if l != nil && l.Keys+l.FieldTTLs > 0 {
			fmt.Fprintf(w, "\nof %c:\n", 'A'+i)
			l.print(w)
		}
	}
	fmt.Fprintf(w, "\nA  %s  %s\nB  %s  %s\n", r.A, r.Names[0], r.B, r.Names[1])
	fmt.Fprintf(w, "%s, %s keys/s\n\n", seconds(took), thousands(newTiming(took, keys).KeysPerSecond))
	return printVerdict(w, r)
}

// printVerdict prints what differs, and the verdict as the last line.
func printVerdict(w io.Writer, r *verify.Report) error {
	for i := range r.Differences {
		fmt.Fprintln(w, r.Differences[i].String())
	}
	for _, n := range []struct {
		count int64
		what  string
	}{
		{r.Expired, "keys or hashes differ only by what has expired; not counted as different"},
		{r.Settled, "keys differed when read and agree now; not counted as different"},
		{r.Unchecked, "further keys differ or may differ; not listed (--limit)"},
		{int64(r.UnreadSlots), "further slots differ; not read again (--limit)"},
	} {
		if n.count > 0 {
			fmt.Fprintf(w, "%s %s\n", thousands(n.count), n.what)
		}
	}
	if _, err := fmt.Fprintln(w, r.Verdict()); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}

// printTotals prints a table with a column for each fingerprint.
func printTotals(w io.Writer, prints ...*verify.Fingerprint) {
	line := func(name string, of func(*verify.Totals) int64) {
		fmt.Fprint(w, name)
		for _, f := range prints {
			t := f.Totals()
			fmt.Fprintf(w, "\t%s", thousands(of(&t)))
		}
		fmt.Fprintln(w)
	}
	for c := range rdb.Classes {
		any := false
		for _, f := range prints {
			t := f.Totals()
			any = any || t.Classes[c] > 0
		}
		if any {
			line(c.String(), func(t *verify.Totals) int64 { return t.Classes[c] })
		}
	}
	seen := map[int]bool{}
	for _, f := range prints {
		for _, db := range f.Databases() {
			if !seen[db.DB] {
				seen[db.DB] = true
				printDatabase(w, db.DB, prints)
			}
		}
	}
	line("with a TTL", func(t *verify.Totals) int64 { return t.Volatile })
	line("bytes", func(t *verify.Totals) int64 { return t.Bytes })
	line("all keys", func(t *verify.Totals) int64 { return t.Keys })
}

func printDatabase(w io.Writer, n int, prints []*verify.Fingerprint) {
	fmt.Fprintf(w, "db%d", n)
	for _, f := range prints {
		keys := int64(0)
		for _, db := range f.Databases() {
			if db.DB == n {
				keys = db.Totals.Keys
			}
		}
		fmt.Fprintf(w, "\t%s", thousands(keys))
	}
	fmt.Fprintln(w)
}

// timing is how long something took.
type timing struct {
	Seconds       float64 `json:"seconds"`
	KeysPerSecond int64   `json:"keysPerSecond"`
}

func newTiming(took time.Duration, keys int64) timing {
	t := timing{Seconds: took.Seconds()}
	if t.Seconds > 0 {
		t.KeysPerSecond = int64(float64(keys) / t.Seconds)
	}
	return t
}

// printMerged prints the fields of several values as one JSON object.
func printMerged(w io.Writer, parts ...any) error {
	all := map[string]json.RawMessage{}
	for _, part := range parts {
		b, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("cannot encode: %w", err)
		}
		if err := json.Unmarshal(b, &all); err != nil {
			return fmt.Errorf("cannot encode: %w", err)
		}
	}
	return printJSON(w, all)
}

// atLeastOne is nil where neither end was looked at through a view.
func atLeastOne(left [2]*leftOut) *[2]*leftOut {
	if left == [2]*leftOut{} {
		return nil
	}
	return &left
}
