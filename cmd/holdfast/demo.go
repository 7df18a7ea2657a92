package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// demoOptions are the flags of "holdfast demo".
type demoOptions struct {
	dir     string
	listen  string
	keys    int64
	version string
	exit    bool
}

func newDemoCmd() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Move a cache to another region by snapshot, on real engines",
		Long: `Demo runs Holdfast's main job from end to end, through the public API alone: it
starts a service, creates a replication group in us-east-1, fills it, takes a
snapshot, exports it to a bucket, copies the file to a bucket in eu-west-1,
creates a group there from it, and compares both live groups.

It stays up until Ctrl-C, so that you can look around, and then takes away
everything that it started. Its data directory is a temporary one unless --data
names another, which is kept.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), cmd.OutOrStdout(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "data", "", "data directory, kept afterwards (default: a temporary one)")
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "address of the service; port 0 picks a free one")
	f.Int64Var(&o.keys, "keys", 1_000_000, "keys to fill the first group with")
	f.StringVar(&o.version, "engine-version", "8.1", "Valkey version of both groups")
	f.BoolVar(&o.exit, "exit", false, "leave at once when the journey is over")
	return cmd
}

func runDemo(ctx context.Context, out io.Writer, o demoOptions) (err error) {
	began := time.Now()
	dir, temporary, err := demoDir(o.dir)
	if err != nil {
		return err
	}
	svc, err := startDemoService(ctx, dir, o.listen)
	if err != nil {
		return errors.Join(err, cleanUp(dir, temporary))
	}
	defer func() {
		// Ctrl-C has ended ctx; taking everything away must not be cut short by it.
		err = errors.Join(err, svc.stop(context.WithoutCancel(ctx)), cleanUp(dir, temporary))
	}()
	j := newJourney(svc, out, o)
	if err := j.run(ctx); err != nil {
		if temporary {
			fmt.Fprintf(os.Stderr, "\nthe service's last words:\n%s\n", tail(svc.log, 15))
		}
		return err
	}
	j.report(time.Since(began))
	if o.exit {
		return j.verdict()
	}
	j.goOn()
	<-ctx.Done()
	fmt.Fprintln(out, "\ntaking everything away …")
	return j.verdict()
}

func demoDir(asked string) (dir dataDir, temporary bool, err error) {
	if asked != "" {
		dir, err = dataDir(asked).make()
		return dir, false, err
	}
	tmp, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return "", false, fmt.Errorf("cannot make a data directory: %w", err)
	}
	return dataDir(tmp), true, nil
}

func cleanUp(dir dataDir, temporary bool) error {
	if !temporary {
		return nil
	}
	return os.RemoveAll(string(dir))
}

// tail is the end of a log file, for an error message.
func tail(path string, lines int) string {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	end := len(b)
	for at := end - 1; at > 0; at-- {
		if b[at] == '\n' && at != end-1 {
			if lines--; lines == 0 {
				return string(b[at+1:])
			}
		}
	}
	return string(b)
}
