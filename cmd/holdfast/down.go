package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/store"
)

// downOptions are the flags of "holdfast down".
type downOptions struct {
	discard bool
	out     io.Writer // what was stopped; nil for silence
}

func newDownCmd() *cobra.Command {
	var dir string
	var o downOptions
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the service and every engine of a data directory",
		Long: `Down stops the service of a data directory, if it runs, and then every engine.
Before a primary is stopped its data is written into its directory, and loaded
again when the next "holdfast serve" starts it. With --discard nothing is written
and the caches come back as their own persistence settings left them, which
means empty unless their parameter group has appendonly. Memcached nodes keep their items
where there is room for them in /dev/shm.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.out = cmd.ErrOrStderr()
			return stopEverything(cmd.Context(), dataDir(dir), o)
		},
	}
	cmd.Flags().StringVar(&dir, "data", defaultDataDir(), "data directory")
	cmd.Flags().BoolVar(&o.discard, "discard", false, "do not keep the data of the caches")
	return cmd
}

// stopEverything stops the service and the engines of a data directory.
func stopEverything(ctx context.Context, dir dataDir, o downOptions) error {
	if !dir.exists() {
		return fmt.Errorf("nothing has ever been started in %s", dir)
	}
	dir, err := dir.make()
	if err != nil {
		return err
	}
	if o.out == nil {
		o.out = io.Discard
	}
	in, err := takeOver(ctx, dir, o.out)
	if err != nil {
		return err
	}
	err = in.stopNodes(ctx, o)
	return errors.Join(err, in.close())
}

// takeOver ends the service and opens its records.
func takeOver(ctx context.Context, dir dataDir, out io.Writer) (*installation, error) {
	log := slog.New(slog.DiscardHandler)
	asked := false
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(startTimeout); ; {
		in, err := openInstallation(ctx, dir, log)
		if err == nil || !errors.Is(err, store.ErrLocked) {
			return in, err
		}
		if !asked {
			if err := endService(dir, out); err != nil {
				return nil, err
			}
			asked = true
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the service does not end: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// endService asks the running service to end. That it runs is known: it holds
// the records, and it wrote its process id where only its owner can write.
func endService(dir dataDir, out io.Writer) error {
	info, err := dir.serviceInfo()
	if err != nil {
		return fmt.Errorf("cannot find the running service: %w", err)
	}
	p, err := os.FindProcess(info.PID)
	if err != nil {
		return fmt.Errorf("cannot find the running service: %w", err)
	}
	fmt.Fprintf(out, "stopping the service (pid %d)\n", info.PID)
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot stop the service: %w", err)
	}
	return nil
}
