package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdfast.dev/internal/migrate"
	"holdfast.dev/internal/resp"
)

// runLive carries a live migration out and prints its report, which it does as
// JSON even of one that failed.
func runLive(cmd *cobra.Command, out *output, m *liveMove) error {
	bars := newProgressGroup(cmd.ErrOrStderr())
	m.steps = &phases{group: bars}
	m.screen = newLiveScreen(m.steps, cmd.ErrOrStderr())
	rep, err := m.run(cmd.Context())
	m.screen.hide()
	bars.wait()
	if err != nil {
		rep.Failure = err.Error()
	}
	switch {
	case out.json():
		err = errors.Join(err, printJSON(cmd.OutOrStdout(), rep))
	case rep.Report != nil:
		err = errors.Join(err, rep.print(cmd.OutOrStdout()))
	}
	var differ *migrate.DifferError
	if errors.As(err, &differ) {
		return differing{err}
	}
	return err
}

// differing is an error whose cause is that both ends differ.
type differing struct{ error }

func (differing) ExitCode() int   { return exitDiffers }
func (d differing) Unwrap() error { return d.error }

// onTerminal tells whether there is a person to ask.
func onTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
}

// settings are the flags that must stay the same when a migration goes on.
func (m *liveMove) settings() string {
	return fmt.Sprintf("from=%s into=%s functions=%t %s", m.from, m.live.into.name, !m.flags.withoutFunctions, m.only.describe())
}

// migrationName is the name of a migration's directory. It tells nothing of users.
func migrationName(src, dst string) string {
	sum := sha256.Sum256([]byte(src + "\x00" + dst))
	return hex.EncodeToString(sum[:8])
}

// putBack undoes what a run left at the source that was killed while it held writes.
func (m *liveMove) putBack(ctx context.Context) error {
	undo := m.point.Record.Undo
	if len(undo) == 0 {
		return nil
	}
	if err := (migrate.Primaries{List: m.nodes}).PutBack(ctx, undo); err != nil {
		return fmt.Errorf("an earlier run was killed while it held writes at the source: %w", err)
	}
	m.point.Record.Undo = nil
	return m.point.Save()
}

// nodes are all servers of the source: who was a primary may be a replica by now.
func (m *liveMove) nodes(ctx context.Context) ([]resp.Options, error) {
	t, err := resp.Discover(ctx, *m.src.server)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return []resp.Options{*m.src.server}, nil
	}
	var all []resp.Options
	for _, addr := range t.Addrs() {
		all = append(all, m.src.server.At(addr))
	}
	return all, nil
}
