package transfer

import (
	"context"
	"io"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/verify"
)

// witness reads an RDB file while somebody else writes it, and can say afterwards
// what it holds. Exactly one of finish and abort has to be called.
type witness struct {
	to   *io.PipeWriter
	done chan struct{}

	print *verify.Fingerprint
	man   cache.Manifest
	err   error
}

func newWitness(ctx context.Context, name string) *witness {
	from, to := io.Pipe()
	w := &witness{to: to, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.print, w.man, w.err = newPassage(from, io.Discard).measure(ctx, name)
		// Whoever still writes is told why nobody listens any more.
		_ = from.CloseWithError(w.err) // never fails
	}()
	return w
}

// Write fails once what was written turns out to be no RDB file.
func (w *witness) Write(b []byte) (int, error) { return w.to.Write(b) }

// finish ends the file and says what it held.
func (w *witness) finish() (*verify.Fingerprint, cache.Manifest, error) {
	_ = w.to.Close() // never fails
	<-w.done
	return w.print, w.man, w.err
}

// abort gives up, for the reason of somebody else.
func (w *witness) abort() {
	_ = w.to.CloseWithError(io.ErrClosedPipe) // never fails
	<-w.done
}
