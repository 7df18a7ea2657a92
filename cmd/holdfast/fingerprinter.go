package main

import (
	"context"
	"errors"
	"io"

	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// fingerprinter takes the bytes of an RDB file as they pass, where the file
// cannot be read a second time, and says what it holds.
type fingerprinter struct {
	w    *io.PipeWriter
	done chan struct{}
	// fleeting leaves out what may have expired when it is compared.
	fleeting *lasting
	// view is what of the file is meant.
	view *view
	c    checked
	err  error
}

// newFingerprinter must be ended by finish or abort. With a horizon, in Unix
// milliseconds, keys that expire before it are left out.
func newFingerprinter(ctx context.Context, horizon int64, v *view) *fingerprinter {
	r, w := io.Pipe()
	f := &fingerprinter{w: w, done: make(chan struct{}), fleeting: &lasting{horizon: horizon}, view: v}
	go func() {
		defer close(f.done)
		f.err = f.read(ctx, r)
		// A writer that goes on gets the error instead of waiting for a reader.
		_ = r.CloseWithError(f.err)
	}()
	return f
}

func (f *fingerprinter) read(ctx context.Context, r *io.PipeReader) error {
	src := source.NewRDB(source.Input{Name: "the file", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(r), nil
	}})
	stop := context.AfterFunc(ctx, func() { _ = r.CloseWithError(context.Cause(ctx)) })
	defer stop()
	f.fleeting.Source = f.view.over(src)
	print, err := verify.Compute(ctx, f.fleeting, verify.Options{})
	if err := errors.Join(err, src.Close()); err != nil {
		return err
	}
	f.c = checked{print: print, info: src.Files()[0]}
	// What follows the end is not ours to judge, but must be taken.
	_, err = io.Copy(io.Discard, r)
	return err
}

// Write takes the next bytes.
func (f *fingerprinter) Write(b []byte) (int, error) { return f.w.Write(b) }

// finish says that this was all, and returns what was found.
func (f *fingerprinter) finish() (*checked, error) {
	_ = f.w.Close()
	<-f.done
	if f.err != nil {
		return nil, f.err
	}
	return &f.c, nil
}

// abort ends it without a result. It may be called after finish.
func (f *fingerprinter) abort() {
	_ = f.w.CloseWithError(errors.New("broken off"))
	<-f.done
}
