package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"holdfast.dev/internal/verify"
)

// moveReport is what is told of a movement into a server.
type moveReport struct {
	Source string `json:"source"`
	Target string `json:"target"`
	// Server is the target's engine and version.
	Server string `json:"server"`
	// Read is how the source was read, where it is a server.
	Read *readReport `json:"read,omitempty"`
	// Into is how the target was filled, where there was a choice.
	Into *intoReport `json:"into,omitempty"`
	// Findings of the look beforehand.
	Findings []finding `json:"findings"`
	// Keys and Bytes sent; after an error the target may have fewer.
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"`
	// Reencoded values were written in another encoding for the target.
	Reencoded int64 `json:"reencoded"`
	// Functions are the libraries that the target had or got.
	Functions int `json:"functions"`
	// LeftOut is what was not meant to be moved; nil where everything was.
	LeftOut *leftOut `json:"leftOut,omitempty"`
	timing
	Verified *verified `json:"verified"`
	// Error is why it failed; empty if it did not.
	Error string `json:"error,omitempty"`
}

// verified is the outcome of the comparison afterwards.
type verified struct {
	Equal   bool   `json:"equal"`
	Verdict string `json:"verdict"`
	// Fingerprints of source and target as they were read.
	Fingerprints [2]string `json:"fingerprints"`
	Expired      int64     `json:"expired"`
	Settled      int64     `json:"settled"`
	// NotCompared keys expire so soon that fingerprints, taken one after the
	// other, could not hold them.
	NotCompared int64               `json:"notCompared"`
	Seconds     float64             `json:"seconds"`
	Content     *verify.Fingerprint `json:"content"`
	// Report names the keys that differ; nil where only fingerprints were compared.
	Report *verify.Report `json:"report,omitempty"`
}

func (r *moveReport) print(w io.Writer) error {
	var b strings.Builder
	if v := r.Verified; v != nil {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		printTotals(t, v.Content)
		if err := t.Flush(); err != nil {
			return fmt.Errorf("cannot print: %w", err)
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "%s to %s (%s): %s keys, %s bytes, %s re-encoded, functions: %d\n",
		r.Source, r.Target, r.Server, thousands(r.Keys), thousands(r.Bytes), thousands(r.Reencoded), r.Functions)
	if r.Read != nil {
		r.Read.print(&b)
	}
	r.LeftOut.print(&b)
	if r.Into != nil {
		r.Into.print(&b)
	}
	fmt.Fprintf(&b, "%.2f s, %s keys/s\n", r.Seconds, thousands(r.KeysPerSecond))
	v := r.Verified
	if v == nil {
		b.WriteString("not verified\n")
		return printText(w, b.String())
	}
	fmt.Fprintf(&b, "verified in %.2f s\n\nA  %s  %s\nB  %s  %s\n", v.Seconds, v.Fingerprints[0], r.Source, v.Fingerprints[1], r.Target)
	if v.NotCompared > 0 {
		fmt.Fprintf(&b, "%s keys expire within %s; they were written, and not compared\n", thousands(v.NotCompared), fleetingFor)
	}
	if v.Report == nil {
		fmt.Fprintln(&b, v.Verdict)
	} else if err := printVerdict(&b, v.Report); err != nil {
		return err
	}
	return printText(w, b.String())
}
