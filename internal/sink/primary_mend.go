package sink

import (
	"context"
	"fmt"

	"holdfast.dev/internal/resp"
)

// Mend tells a server to follow us again that was restarted, and has forgotten it
// by that: for REPLICAOF and CONFIG SET live in memory. A server that cannot be reached
// is left alone, for it may come back. One that somebody else made a primary, or that
// came back with content of which nothing is known, is an error: to follow us would
// delete that.
func (f *Follower) Mend(ctx context.Context) error {
	info, err := infoOf(ctx, f.conn, "replication")
	if err != nil && !resp.IsServerError(err) {
		if f.redial(ctx) != nil {
			return nil
		}
		info, err = infoOf(ctx, f.conn, "replication")
	}
	if err != nil || info["role"] != "master" {
		return nil // it is loading, or away again; or it does follow us
	}
	id, err := f.runID(ctx)
	if err != nil {
		return nil // as above
	}
	if id == f.run {
		return fmt.Errorf("somebody made %s a primary; it is no longer ours to change", f.target)
	}
	if err := f.lookContent(ctx); err != nil {
		return fmt.Errorf("%s was restarted and does not follow us any more: %w", f.target, err)
	}
	f.run, f.changed = id, nil
	if err := f.fetchByTLS(ctx); err != nil {
		return err
	}
	if f.ours {
		if _, err := f.change(ctx, "masterauth", "", f.secret); err != nil {
			return err
		}
	}
	if err := f.loadAtOnce(ctx); err != nil {
		return err
	}
	return f.follow(ctx)
}

// runID is the name of the server's process.
func (f *Follower) runID(ctx context.Context) (string, error) {
	info, err := infoOf(ctx, f.conn, "server")
	return info["run_id"], err
}
