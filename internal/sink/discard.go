package sink

import (
	"context"
	"io"

	"holdfast.dev/internal/flow"
)

// Discard takes entries and forgets them. It tells how fast a source is, and
// whether it can be read to its end.
type Discard struct {
	// Keys and Bytes written so far.
	Keys, Bytes int64
}

// Write counts.
func (d *Discard) Write(ctx context.Context, batch []flow.Entry) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i := range batch {
		d.Bytes += int64(batch[i].Size())
		if body := batch[i].Body; body != nil {
			n, err := io.Copy(io.Discard, body)
			d.Bytes += n
			if err != nil {
				return keyError("read", &batch[i], err)
			}
		}
	}
	d.Keys += int64(len(batch))
	return nil
}

// Commit does nothing.
func (d *Discard) Commit(context.Context) error { return nil }

// Close does nothing.
func (d *Discard) Close() error { return nil }
