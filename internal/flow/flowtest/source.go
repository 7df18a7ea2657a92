package flowtest

import (
	"context"
	"errors"
	"testing"

	"holdfast.dev/internal/flow"
)

// Source runs the suite. Each call of open returns a new source of the same
// content: that of Sample.
func Source(t *testing.T, open func(t *testing.T) flow.Source) {
	t.Run("reads everything once", func(t *testing.T) {
		s := open(t)
		Same(t, Read(t, s.Entries(t.Context())), SampleContent(t))
		closeTwice(t, s)
	})
	t.Run("says what its values are", func(t *testing.T) {
		s := open(t)
		defer closeTwice(t, s)
		for e, err := range s.Entries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Version < 1 || e.Idle < -1 || e.Freq < -1 {
				t.Errorf("%q: version %d, idle %d, freq %d", e.Key, e.Version, e.Idle, e.Freq)
			}
		}
	})
	t.Run("stops when its reader does", func(t *testing.T) {
		s := open(t)
		n := 0
		for _, err := range s.Entries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 {
				break
			}
		}
		closeTwice(t, s)
	})
	t.Run("stops when its context ends", func(t *testing.T) { sourceCancelled(t, open(t)) })
	t.Run("can be closed unread", func(t *testing.T) {
		s := open(t)
		closeTwice(t, s)
		var last error
		n := 0
		for e, err := range s.Entries(t.Context()) {
			last = err
			if e != nil {
				n++
			}
		}
		if last == nil || n > 0 {
			t.Errorf("after Close it yielded %d keys and the error %v", n, last)
		}
	})
	t.Run("knows about how many", func(t *testing.T) {
		s := open(t)
		defer closeTwice(t, s)
		sized, ok := s.(flow.Sized)
		if !ok {
			t.Skip("it does not tell")
		}
		n, err := sized.Len(t.Context())
		if want := int64(len(Sample())); err != nil || n != 0 && n != want {
			t.Errorf("Len is %d, %v; there are %d", n, err, want)
		}
	})
}

var errEnough = errors.New("enough")

func sourceCancelled(t *testing.T, s flow.Source) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	var errs int
	for e, err := range s.Entries(ctx) {
		if errs > 0 {
			t.Fatal("it goes on after its error")
		}
		if err != nil {
			errs++
			if !errors.Is(err, errEnough) && !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
			if e != nil {
				t.Error("the error came with an entry")
			}
		}
	}
	if errs != 1 {
		t.Errorf("%d errors for a context that had ended", errs)
	}
	closeTwice(t, s)
}

func closeTwice(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}
