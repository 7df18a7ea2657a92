package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/memcache"
)

// verify compares memcached servers or files of their items.
func (m *memcachedFlags) verify(cmd *cobra.Command, acc *access, opt verifyOptions, args []string, out *output) error {
	if err := m.refuse(cmd, "limit", "ttl-tolerance"); err != nil {
		return err
	}
	var ends [2]*memcachedEnd
	for n := range ends {
		var err error
		if ends[n], err = acc.parseMemcached(args[n], cmd.ErrOrStderr()); err != nil {
			return err
		}
		if ends[n].file.std {
			return usageError{errors.New("standard input cannot be read twice, which a comparison may have to; write it to a file")}
		}
	}
	ctx := cmd.Context()
	bars := newProgressGroup(cmd.ErrOrStderr())
	steps := &phases{group: bars}
	defer bars.wait()
	defer steps.done()
	began, pace := time.Now(), flow.NewLimiter(acc.rate)
	sums := &memcache.Sums{}
	for i, err := range ends[0].items(ctx) {
		if err == nil {
			err = paced(ctx, pace, i)
		}
		if err != nil {
			return err
		}
		if sums.Add(i); sums.Len()%1024 == 0 {
			steps.at("A", sums.Len(), 0, 0)
		}
	}
	c, err := memcache.Compare(ctx, sums, ends[0].end(), ends[1].end(), memcache.CompareOptions{
		Limit: opt.limit, Tolerance: opt.tolerance, Progress: func(n int64) { steps.at("B", n, sums.Len(), 0) },
	})
	if err != nil {
		return err
	}
	steps.done()
	return tellComparison(cmd.OutOrStdout(), out, ends, c, newTiming(time.Since(began), max(c.A, c.B)))
}

func tellComparison(w io.Writer, out *output, ends [2]*memcachedEnd, c *memcache.Comparison, took timing) error {
	var err error
	if out.json() {
		err = printMerged(w, c, took, struct {
			Names   [2]string `json:"names"`
			Verdict string    `json:"verdict"`
		}{[2]string{ends[0].name, ends[1].name}, c.Verdict()})
	} else {
		var b strings.Builder
		fmt.Fprintf(&b, "A  %s\nB  %s\n%.2f s, %s items/s\n", ends[0].name, ends[1].name, took.Seconds, thousands(took.KeysPerSecond))
		printComparison(&b, c)
		err = printText(w, b.String())
	}
	if err == nil && !c.Equal {
		return differs{}
	}
	return err
}

// printComparison prints what differs, and the verdict as the last line.
func printComparison(b *strings.Builder, c *memcache.Comparison) {
	fmt.Fprintf(b, "A %s items, B %s items\n", thousands(c.A), thousands(c.B))
	for _, d := range c.Differences {
		fmt.Fprintf(b, "%s: %s\n", strconv.Quote(d.Key), d.What) // whatever bytes it has
	}
	for _, n := range []struct {
		count int64
		what  string
	}{
		{c.Twice, "items of A have the key of another one, at another server; one of them has to agree"},
		{c.Expired, "items expired meanwhile; not counted as different"},
		{c.Settled, "items differed when read and agree now; not counted as different"},
		{c.Different - int64(len(c.Differences)), "further items differ; not listed"},
		{c.Unchecked, "further items differed when read; not looked at again"},
	} {
		if n.count > 0 {
			fmt.Fprintf(b, "%s %s\n", thousands(n.count), n.what)
		}
	}
	fmt.Fprintln(b, c.Verdict())
}
