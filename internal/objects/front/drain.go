package front

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	maxDrain  = 128 << 20 // bytes of a refused body that are still taken
	drainTime = 15 * time.Second
)

// taken is a request body of which it is known how far it was read.
type taken struct {
	io.ReadCloser
	begun, ended atomic.Bool
	cause        atomic.Pointer[error] // why it ended, when not at its end
}

// failure is the error that reading ended with, nil at the body's proper end.
func (b *taken) failure() error {
	if cause := b.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

func (b *taken) Read(p []byte) (int, error) {
	b.begun.Store(true)
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended.Store(true)
		if !errors.Is(err, io.EOF) {
			b.cause.CompareAndSwap(nil, &err)
		}
	}
	return n, err
}

// Close leaves the body open: the transport to the child closes what it sends, and
// the rest is still to be taken. The server closes it in the end.
func (b *taken) Close() error { return nil }

// drain takes the rest of a body whose request has been answered. Most clients send
// all of a body before they look for the answer; to close on them then would show
// them a broken connection instead of the answer, and they would try again.
func (b *taken) drain(w http.ResponseWriter, r *http.Request) {
	waits := r.Header.Get("Expect") != "" && !b.begun.Load() // such a client sends nothing now
	if b.ended.Load() || waits || r.ContentLength == 0 || r.ContentLength > maxDrain || r.Context().Err() != nil {
		return
	}
	control := http.NewResponseController(w)
	if err := errors.Join(control.Flush(), control.SetReadDeadline(time.Now().Add(drainTime))); err != nil {
		return // the connection cannot be governed, or is gone
	}
	// Whatever ends this, the answer has been sent: there is no one to tell.
	_, _ = io.CopyN(io.Discard, b.ReadCloser, maxDrain)
	_ = control.SetReadDeadline(time.Time{})
}
