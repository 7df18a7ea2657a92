package reconcile

import (
	"context"
	"time"
)

// retractPatience bounds how long the end of a failed export waits for a bucket
// that may be what failed.
const retractPatience = time.Minute

// retract takes back what an export that has failed for good left in its bucket.
// What cannot be taken back stays there, and is told.
func (r *Runner) retract(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, retractPatience)
	defer cancel()
	s, err := r.snapshotRecord(ctx, key)
	if err == nil && len(s.Exports) > 0 {
		err = r.Transfers.Retract(ctx, s, s.Exports[0])
	}
	if err != nil {
		r.Log.Warn("what a failed export has written may be in its bucket still", "snapshot", key, "error", err)
	}
}
