package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/verify"
)

func newFingerprintCmd() *cobra.Command {
	var (
		acc  access
		out  output
		only selectFlags
	)
	cmd := &cobra.Command{
		Use:   "fingerprint END",
		Short: "Print the fingerprint of everything that an end holds",
		Long: `Fingerprint reads an end completely and prints one line that depends on its
content alone: on every key's name, type, value and expiry, and not on their order,
the engine, its version or its encodings. Equal fingerprints mean equal content. A
live server that is written to meanwhile has no one content; a snapshot has.

` + selectHelp + endsHelp,
		Example: `  holdfast fingerprint redis://127.0.0.1:6379
  holdfast fingerprint s3://bucket/orders-0001.rdb --output json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := acc.parse(args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := only.apply(e, nil); err != nil {
				return err
			}
			return runFingerprint(cmd, e, &out)
		},
	}
	acc.addReadFlags(cmd)
	only.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

func runFingerprint(cmd *cobra.Command, e *end, out *output) error {
	ctx := cmd.Context()
	src, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	p := newProgress(cmd.ErrOrStderr(), "read", e.size(ctx))
	defer p.Done()
	began := time.Now()
	f, err := verify.Compute(ctx, src, verify.Options{Progress: func(at verify.Progress) { p.Set(at.Keys) }})
	took := time.Since(began)
	p.Done()
	if err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return printFingerprint(cmd.OutOrStdout(), f, took, e.view.leftOut(), out)
}

func printFingerprint(w io.Writer, f *verify.Fingerprint, took time.Duration, left *leftOut, out *output) error {
	speed := newTiming(took, f.Totals().Keys)
	if out.json() {
		return printMerged(w, f, speed, struct {
			LeftOut *leftOut `json:"leftOut,omitempty"`
		}{left})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printTotals(t, f)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	left.print(w)
	_, err := fmt.Fprintf(w, "%s, %s keys/s\n\n%s\n", seconds(took), thousands(speed.KeysPerSecond), f)
	if err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}
