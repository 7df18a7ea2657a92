package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/bridge"
	"holdfast.dev/internal/migrate"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// bridged tells whether the target is filled as our replica.
func (m *liveMove) bridged() bool { return m.live.into.name == intoReplica }

// bridgeable refuses a cluster at either end of a bridge.
func (m *liveMove) bridgeable(ctx context.Context) error {
	if !m.bridged() {
		return nil
	}
	for _, opt := range []resp.Options{*m.src.server, *m.dst.server} {
		t, err := resp.Discover(ctx, opt)
		if err != nil {
			return err
		}
		if t != nil {
			return usageError{fmt.Errorf("%s is a cluster, whose nodes have no primary but one of their own; --into restore moves clusters too", opt)}
		}
	}
	return nil
}

// bridge makes a carrier that is a replica of the source and the primary of the target.
func (m *liveMove) bridge() *migrate.Bridged {
	return migrate.NewBridged(func(h source.HoldOptions) *bridge.Bridge {
		return bridge.New(bridge.Options{
			Source: *m.src.server, Target: *m.dst.server, Hold: h,
			Dir: filepath.Join(m.point.Dir(), "bridge"), ReplaceAll: m.live.replaceAll || m.began, Certificate: m.live.replicaCert,
		})
	}, 0)
}

// checkBridge refuses what a replica cannot do.
func (l *liveFlags) checkBridge(cmd *cobra.Command, only *selectFlags, src *end) error {
	if !l.on || l.into.name != intoReplica {
		return nil
	}
	switch {
	case cmd.Flags().Changed("from") && cmd.Flag("from").Value.String() != roadReplica:
		return usageError{errors.New("--into replica goes with --from replica: the source's own stream is what the target gets")}
	case l.hold.name == holdNone:
		return usageError{errors.New("--into replica holds the writes itself: --hold none does not go with it")}
	case only.describe() != "":
		return usageError{errors.New("--into replica carries everything as it is: nothing can be left out or renamed")}
	case src.rate.Limited():
		return usageError{errors.New("--into replica cannot be slowed down: the source keeps what a replica has not taken")}
	case cmd.Flags().Changed("without-functions"):
		return usageError{errors.New("--into replica carries functions too")}
	}
	return nil
}
