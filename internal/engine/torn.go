package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// torn tells whether a node in cluster mode, which replicates, stands in its own
// list of nodes as a primary. It comes to that when a node that it followed tells it
// that it follows it now, before it was told to lead. From then on it refuses to be
// promoted, for it is a primary, and to follow anybody, for it has keys.
func torn(ctx context.Context, c *resp.Conn, self string) (bool, error) {
	seats, err := askSeats(ctx, c)
	if err != nil {
		return false, err
	}
	return seats[self].is("master"), nil
}

// Shelve writes the data of a node to its seed file, for its next start to load. The
// node goes on as it is: what it is told after that is not in the file.
func (e *Engines) Shelve(ctx context.Context, spec cache.NodeSpec) error {
	if err := e.shelve(ctx, spec); err != nil {
		return fmt.Errorf("cannot put the data of %s aside: %w", spec.Key, err)
	}
	return nil
}

func (e *Engines) shelve(ctx context.Context, spec cache.NodeSpec) error {
	n, err := e.node(spec)
	if err != nil {
		return err
	}
	unlock, err := n.turn.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	dump := filepath.Join(n.dir, dumpFile)
	if err := remove(dump); err != nil {
		return err
	}
	if err := n.link.use(ctx, spec, func(c *resp.Conn) error {
		_, err := c.Do(ctx, "BGSAVE")
		if resp.IsServerError(err) && !resp.IsServerError(err, "BUSY", "LOADING") {
			// One is running that may lack the last writes: another one after it.
			_, err = c.Do(ctx, "BGSAVE", "SCHEDULE")
		}
		return err
	}); err != nil {
		return err
	}
	if err := e.awaitSaved(ctx, spec); err != nil {
		return err
	}
	// A node that was started from its seed file saves to that very file.
	err = os.Rename(dump, filepath.Join(n.dir, seedFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = n.checkSeed()
	}
	return err
}

// awaitSaved waits for all saves that were asked for.
func (e *Engines) awaitSaved(ctx context.Context, spec cache.NodeSpec) error {
	tick := time.NewTicker(saveLook)
	defer tick.Stop()
	for {
		in, err := e.info(ctx, spec)
		if err != nil {
			return err
		}
		if in["rdb_bgsave_in_progress"] == "0" && in["aof_rewrite_in_progress"] != "1" {
			if in["rdb_last_bgsave_status"] != "ok" {
				return errors.New("saving failed: its log tells why")
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
