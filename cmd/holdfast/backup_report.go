package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"holdfast.dev/internal/verify"
)

// backupReport is what is told of a backup.
type backupReport struct {
	Source string     `json:"source"`
	Target string     `json:"target"`
	Read   readReport `json:"read"`
	// RDB is the file's header, Bytes its length.
	RDB       string              `json:"rdb"`
	Bytes     int64               `json:"bytes"`
	Content   *verify.Fingerprint `json:"content"`
	Functions int                 `json:"functions"`
	ModuleAux int                 `json:"moduleData"`
	// LeftOut is what was not meant to be in the file; nil where everything was.
	LeftOut *leftOut `json:"leftOut,omitempty"`
	// Checksummed: the file carries a checksum; it was right.
	Checksummed bool `json:"checksummed"`
	// ReadBack: the file was read again from where it stands; otherwise it was
	// looked at as it passed.
	ReadBack bool `json:"readBack"`
	timing
	CheckSeconds float64 `json:"checkSeconds"`
}

func (r *backupReport) print(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	printTotals(t, r.Content)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	fmt.Fprintf(&b, "\n%s to %s: %s bytes, %s, functions: %d, data of modules: %d\n",
		r.Source, r.Target, thousands(r.Bytes), r.RDB, r.Functions, r.ModuleAux)
	r.Read.print(&b)
	r.LeftOut.print(&b)
	how := "read back"
	if !r.ReadBack {
		how = "looked at as it passed, not read back"
	}
	if !r.Checksummed {
		how += "; the server writes no checksum (rdbchecksum no)"
	}
	fmt.Fprintf(&b, "%s, %s keys/s; %s in %.2f s\n\n%s\n", fmt.Sprintf("%.2f s", r.Seconds), thousands(r.KeysPerSecond), how, r.CheckSeconds, r.Content)
	return printText(w, b.String())
}

// print tells how a server was read.
func (r *readReport) print(w io.Writer) {
	fmt.Fprintf(w, "%s, by %s: %s (%s)", r.Server, r.Road, r.Consistency, r.Means)
	if r.At != nil {
		fmt.Fprintf(w, " as of %s", r.At.Format("2006-01-02T15:04:05.000Z"))
	}
	fmt.Fprintln(w)
	if r.Road == roadCommands {
		fmt.Fprintf(w, "writes held back for %.1f ms, keys read again: %s, begun again: %d\n", r.WritePauseMs, thousands(r.Reread), len(r.Restarts))
	}
	for _, s := range r.Restarts {
		fmt.Fprintf(w, "begun again: %s\n", s)
	}
	for _, s := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", s)
	}
	if r.Inexact > 0 {
		fmt.Fprintf(w, "note: %s expiries may be a millisecond early\n", thousands(r.Inexact))
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(w, "not read: %s\n", strings.Join(r.Missing, ", "))
	}
}

func printText(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("cannot print: %w", err)
	}
	return nil
}
