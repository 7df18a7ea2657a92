package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDiffers     = 3
	exitInterrupted = 130
)

const rootLong = `Holdfast runs, backs up, moves and compares Redis and Valkey caches.

The service ("serve") answers Amazon ElastiCache's own API, and S3's beside it,
over real engines on this machine. The mover ("backup", "restore", "migrate",
"verify", "fingerprint", "generate", "inspect") works on any Redis or Valkey
endpoint and on RDB files, with no service running.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 differences found, 130 interrupted.`

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "holdfast",
		Short:         "ElastiCache's operations on machines of your own",
		Long:          rootLong,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSubcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help")}
	})
	root.AddGroup(
		&cobra.Group{ID: "service", Title: "The service:"},
		&cobra.Group{ID: "mover", Title: "The mover:"},
	)
	addTo(root, "service", newServeCmd(), newDownCmd(), newEnvCmd(), newKeysCmd(), newCACmd(), newEnginesCmd(), newReportCmd(), newDemoCmd())
	addTo(root, "mover", newBackupCmd(), newRestoreCmd(), newMigrateCmd(), newVerifyCmd(), newFingerprintCmd(), newGenerateCmd(), newInspectCmd())
	root.AddCommand(newVersionCmd(), newInternalCmd())
	return root
}

func addTo(root *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, c := range cmds {
		c.GroupID = group
		root.AddCommand(c)
	}
}

func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("there is no command %q; see %q", args[0], cmd.CommandPath()+" --help")}
	}
	return nil
}

// usageError is a mistake in the command line itself.
type usageError struct{ error }

func (usageError) ExitCode() int   { return exitUsage }
func (e usageError) Unwrap() error { return e.error }

// usageArgs turns cobra's complaint about arguments into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help")}
		}
		return nil
	}
}

// run executes one command line and is the one place where errors become exit codes.
func run(ctx context.Context, args []string) int {
	root := newRootCmd()
	root.SetArgs(args)
	out := &counted{w: os.Stdout}
	root.SetOut(out)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code := exitCode(ctx, err)
	if code != exitDiffers && out.n == 0 {
		err = errors.Join(err, printFailure(cmd, err, out))
	}
	if msg := err.Error(); msg != "" && code != exitInterrupted {
		fmt.Fprintln(os.Stderr, "holdfast:", msg)
	}
	return code
}

// counted counts what is written.
type counted struct {
	w io.Writer
	n int64
}

// Write passes on.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// failedRun is what a command that prints JSON prints when it has no report.
type failedRun struct {
	Error string `json:"error"`
}

// printFailure prints an error as JSON where that was asked for, and nothing was
// printed yet.
func printFailure(cmd *cobra.Command, err error, out io.Writer) error {
	f := cmd.Flags().Lookup("output")
	if f == nil || f.Value.String() != "json" {
		return nil
	}
	writes := cmd.Name() == "backup" || cmd.Name() == "generate"
	if args := cmd.Flags().Args(); writes && len(args) > 0 && args[len(args)-1] == "-" {
		out = os.Stderr // standard output is the data's
	}
	return printJSON(out, failedRun{err.Error()})
}

func exitCode(ctx context.Context, err error) int {
	var coded interface{ ExitCode() int }
	switch {
	case errors.As(err, &coded):
		return coded.ExitCode()
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}
