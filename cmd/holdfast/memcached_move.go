package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/memcache"
)

// memcachedMove is a movement into memcached, and what is told of it.
type memcachedMove struct {
	Source string `json:"source"`
	Target string `json:"target"`
	// Distribution by which items were spread over several servers.
	Distribution string `json:"distribution,omitempty"`
	// Consistency says of which moment the items are, where they come from servers.
	Consistency string `json:"consistency,omitempty"`
	Items       int64  `json:"items"`
	Bytes       int64  `json:"bytes"`
	memcache.Outcome
	// Evicted at the target meanwhile, because it was full.
	Evicted int64 `json:"evicted"`
	timing
	Verified *memcachedVerified `json:"verified"`
	// Error is why it failed; empty if it did not.
	Error string `json:"error,omitempty"`

	src, dst *memcachedEnd
	replace  bool
	add      bool
	noVerify bool
	pace     *flow.Limiter
	steps    *phases
	warn     io.Writer
	// evictions and held: of the target, before.
	evictions, held int64
	sums            memcache.Sums
}

// memcachedVerified is the comparison afterwards.
type memcachedVerified struct {
	*memcache.Comparison
	Verdict string  `json:"verdict"`
	Seconds float64 `json:"seconds"`
}

// restore fills memcached from a file, migrate from other servers.
func (m *memcachedFlags) restore(cmd *cobra.Command, acc *access, flags *writeFlags, args []string, out *output) error {
	return m.move(cmd, acc, flags, args, out, false)
}

func (m *memcachedFlags) migrate(cmd *cobra.Command, acc *access, flags *writeFlags, args []string, out *output) error {
	return m.move(cmd, acc, flags, args, out, true)
}

func (m *memcachedFlags) move(cmd *cobra.Command, acc *access, flags *writeFlags, args []string, out *output, servers bool) error {
	if err := m.refuse(cmd, "replace", "no-verify", "add", "distribution", "source-distribution"); err != nil {
		return err
	}
	src, err := acc.parseMemcached(args[0], cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	dst, err := acc.parseMemcached(args[1], cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := m.checkEnds(src, dst, servers, flags); err != nil {
		return err
	}
	bars := newProgressGroup(cmd.ErrOrStderr())
	v := &memcachedMove{
		Source: src.name, Target: dst.name, Distribution: m.distribution.name, src: src, dst: dst, replace: flags.replace, add: m.add,
		noVerify: flags.noVerify, pace: flow.NewLimiter(acc.rate), steps: &phases{group: bars}, warn: cmd.ErrOrStderr(),
	}
	if servers {
		v.Consistency = consistency
	}
	err = v.run(cmd.Context())
	v.steps.done()
	bars.wait()
	return v.tell(cmd.OutOrStdout(), out, err)
}

func (m *memcachedFlags) checkEnds(src, dst *memcachedEnd, servers bool, flags *writeFlags) error {
	switch {
	case dst.servers == nil:
		return usageError{fmt.Errorf("%s is no server; %q writes files", dst.name, "holdfast backup")}
	case servers && src.servers == nil:
		return usageError{fmt.Errorf("%s is a file; %q fills servers from one", src.name, "holdfast restore")}
	case !servers && src.servers != nil:
		return usageError{fmt.Errorf("%s are servers; %q copies from servers to servers", src.name, "holdfast migrate")}
	case m.add && flags.replace:
		return usageError{errors.New("--add leaves what is there, and --replace does not: give one of them")}
	case len(dst.servers) > 1 && m.distribution.name == "":
		return usageError{fmt.Errorf("%s are several servers: say how clients spread keys over them, with --distribution %s", dst.name, strings.Join(memcache.Distributions, "|"))}
	case len(dst.servers) == 1 && m.distribution.name != "":
		return usageError{fmt.Errorf("--distribution is for several servers, and %s is one", dst.name)}
	}
	for _, a := range src.servers {
		for _, b := range dst.servers {
			if a.Network == b.Network && a.Addr == b.Addr {
				return usageError{fmt.Errorf("%s is a server of both ends", a.Addr)}
			}
		}
	}
	return src.narrow(m.from.name)
}

// tell prints what there is to tell, as JSON even of a movement that failed.
func (v *memcachedMove) tell(w io.Writer, out *output, err error) error {
	if err != nil {
		v.Error = err.Error()
	}
	switch {
	case out.json():
		err = errors.Join(err, printJSON(w, v))
	case err == nil:
		err = v.print(w)
	}
	if err == nil && v.Verified != nil && !v.Verified.Equal {
		return differs{}
	}
	return err
}

func (v *memcachedMove) run(ctx context.Context) error {
	total, err := v.look(ctx)
	if err != nil {
		return fmt.Errorf("nothing was moved: %w", err)
	}
	began := time.Now()
	err = v.pour(ctx, total)
	v.timing = newTiming(time.Since(began), v.Items)
	if err != nil {
		return v.broken(err)
	}
	after, err := v.dst.stats(ctx)
	if err != nil {
		return err
	}
	v.Evicted = after.Evictions - v.evictions
	if twice := v.sums.Twice(); twice > 0 {
		fmt.Fprintf(v.warn, "holdfast: warning: %s keys were on more than one server of %s, and which of their items the target has now is chance; --source-distribution tells them apart\n",
			thousands(twice), v.src.name)
	}
	if !v.noVerify {
		if err := v.verify(ctx); err != nil {
			return fmt.Errorf("everything was written, but cannot verify it: %w", err)
		}
	}
	if v.Refused > 0 {
		return fmt.Errorf("%s refused %s items, the others are there; such as: %s", v.dst.name, thousands(v.Refused), strings.Join(v.Reasons, "; "))
	}
	return nil
}

// look finds out beforehand what speaks against it, and how much there is to move.
func (v *memcachedMove) look(ctx context.Context) (total int64, err error) {
	there, err := v.dst.stats(ctx)
	if err != nil {
		return 0, err
	}
	if v.evictions, v.held = there.Evictions, there.Items; v.held > 0 && !v.replace && !v.add {
		return 0, fmt.Errorf("%s holds %s items: --add leaves those that are there, --replace replaces those of the same keys", v.dst.name, thousands(v.held))
	}
	if v.src.servers != nil {
		s, err := v.src.stats(ctx)
		return s.Items, err
	}
	if v.src.file.std {
		return 0, nil
	}
	for _, err := range v.src.fileItems(ctx) {
		if err != nil {
			return 0, err
		}
		if total++; total%1024 == 0 {
			v.steps.at("look", total, 0, 0)
		}
	}
	return total, nil
}

// pour moves the items.
func (v *memcachedMove) pour(ctx context.Context, total int64) (err error) {
	mode := memcache.Set
	if v.add {
		mode = memcache.Add
	}
	// With one server, whatever spreads has nothing to choose.
	distribution := v.Distribution
	if distribution == "" {
		distribution = memcache.Modula
	}
	to, err := memcache.NewSpread(ctx, distribution, v.dst.servers, mode)
	if err != nil {
		return err
	}
	defer func() {
		v.Outcome = to.Outcome()
		err = errors.Join(err, to.Close())
	}()
	items := v.src.items
	if v.src.servers == nil {
		items = v.src.fileItems // those that have expired are counted as they are not written
	}
	for i, err := range items(ctx) {
		if err != nil {
			return errors.Join(err, to.Flush(ctx)) // what came before is there, and counted
		}
		if err := paced(ctx, v.pace, i); err != nil {
			return err
		}
		if err := to.Write(ctx, i); err != nil {
			return err
		}
		v.Bytes += int64(len(i.Key) + len(i.Value))
		if v.Items++; v.Items%1024 == 0 {
			v.steps.at("write", v.Items, total, 0)
			v.steps.bytes(v.Bytes)
		}
		if !i.Expired(time.Now()) {
			v.sums.Add(i)
		}
	}
	return to.Flush(ctx)
}

func (v *memcachedMove) verify(ctx context.Context) error {
	began := time.Now()
	c, err := memcache.Compare(ctx, &v.sums, v.src.end(), v.dst.end(), memcache.CompareOptions{
		Limit: 100, MoreInB: v.held > 0, OtherInB: v.add,
		Progress: func(n int64) { v.steps.at("verify", n, v.Items, 0) },
	})
	if err != nil {
		return err
	}
	v.Verified = &memcachedVerified{Comparison: c, Verdict: c.Verdict(), Seconds: time.Since(began).Seconds()}
	return nil
}

// broken says how far it came and how to go on.
func (v *memcachedMove) broken(err error) error {
	if v.Items == 0 {
		return fmt.Errorf("nothing was moved: %w", err)
	}
	note := fmt.Sprintf("%s holds a part now: %s items were stored. The same command with --add completes it, with --replace it begins anew", v.dst.name, thousands(v.Stored))
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(v.warn, "holdfast: interrupted;", note) // the exit code says the rest
	}
	return fmt.Errorf("%w; %s", err, note)
}

func (v *memcachedMove) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s: %s items, %s bytes\n", v.Source, v.Target, thousands(v.Items), thousands(v.Bytes))
	fmt.Fprintf(&b, "%s stored, %s were there and were left, %s had expired, %s evicted\n",
		thousands(v.Stored), thousands(v.Left), thousands(v.Expired), thousands(v.Evicted))
	if !v.KeepsCAS {
		b.WriteString("CAS numbers are the target's own: it does not take others before 1.6.21\n")
	}
	if v.Consistency != "" {
		fmt.Fprintln(&b, v.Consistency)
	}
	fmt.Fprintf(&b, "%.2f s, %s items/s\n", v.Seconds, thousands(v.KeysPerSecond))
	if v.Verified == nil {
		b.WriteString("not verified\n")
		return printText(w, b.String())
	}
	fmt.Fprintf(&b, "verified in %.2f s\n", v.Verified.Seconds)
	printComparison(&b, v.Verified.Comparison)
	return printText(w, b.String())
}
