package main

import (
	"fmt"
	"io"
	"strings"

	"holdfast.dev/internal/migrate"
)

// liveReport is what is told of a migration that followed its source.
type liveReport struct {
	Source string `json:"source"`
	Target string `json:"target"`
	// Server is the target's engine and version, Road how the data came there.
	Server   string    `json:"server"`
	Road     string    `json:"road"`
	Findings []finding `json:"findings"`
	*migrate.Report
	// Failure is why it failed; empty if it did not.
	Failure string `json:"error,omitempty"`
}

func (r *liveReport) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s (%s)\nread and written: %s\n", r.Source, r.Target, r.Server, r.Road)
	if r.Report == nil {
		return printText(w, b.String())
	}
	fmt.Fprintf(&b, "in step after %.2f s, %s keys, functions: %d; %.2f s in all\n",
		r.FullSeconds, thousands(r.Status.Keys), r.Functions, r.Seconds)
	if r.Status.Resyncs > 0 {
		fmt.Fprintf(&b, "everything was read again %d times\n", r.Status.Resyncs)
	}
	for _, why := range r.Failed {
		fmt.Fprintf(&b, "a cut-over was taken back: %s\n", why)
	}
	for _, c := range []*migrate.Comparison{r.Rehearsal, r.Final} {
		if c != nil {
			fmt.Fprintf(&b, "compared %s: %s keys in %.3f s: %s\n", scopes[c.Scope], thousands(c.Keys), c.Seconds, c.Report.Verdict())
		}
	}
	if r.Held != "" {
		fmt.Fprintf(&b, "writes held by %s: %.0f ms until both ends were seen to agree, %.0f ms until clients were switched\n",
			r.Held, r.ReadySeconds*1000, r.PauseSeconds*1000)
	}
	if r.Switched {
		fmt.Fprintf(&b, "clients write to %s now\n", r.Target)
	}
	if r.Undo != "" {
		fmt.Fprintf(&b, "the source takes no writes any more; to let it take them again: %s\n", r.Undo)
	}
	if r.Unfenced != "" {
		fmt.Fprintf(&b, "THE SOURCE MAY STILL TAKE WRITES, which the target will not get: %s\n", r.Unfenced)
	}
	return printText(w, b.String())
}

var scopes = map[string]string{
	"rehearsal": "with writers at work", "changed": "what had changed, with writes held", "all": "everything, with writes held",
}
