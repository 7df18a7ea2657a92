package transfer

import (
	"context"
	"fmt"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/resp"
)

// sameRun makes sure that the process that has the data is the one that answers. A
// node that died and was started anew is empty, or does not have its primary's data
// yet, and a file of that must not pass for a backup of what it had.
func sameRun(ctx context.Context, job *cache.SnapshotJob) error {
	if job.RunID == "" {
		return nil
	}
	c, err := resp.Dial(ctx, loginOptions(job.Node))
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Do(ctx, "INFO", "server")
	if err != nil {
		return err
	}
	for name, id := range resp.InfoFields(r.Bytes) {
		if name != "run_id" || id == job.RunID {
			continue
		}
		return fmt.Errorf("%s was started anew while it was to be backed up: its run_id is %s and was %s", c, id, job.RunID)
	}
	return nil
}
