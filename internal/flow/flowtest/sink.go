package flowtest

import (
	"context"
	"testing"

	"holdfast.dev/internal/flow"
)

// SinkPlace is an empty place that a sink writes to.
type SinkPlace struct {
	// Open begins to write.
	Open func(t *testing.T) flow.Sink
	// Read tells what the place holds; nothing at all is an empty Content.
	Read func(t *testing.T) Content
	// Forgets: nothing can be read back.
	Forgets bool
	// Atomic: before Commit nothing can be seen.
	Atomic bool
}

// Sink runs the suite. Each call of place returns an empty place.
func Sink(t *testing.T, place func(t *testing.T) SinkPlace) {
	t.Run("keeps everything", func(t *testing.T) {
		p := place(t)
		s := p.Open(t)
		for _, batch := range [][]flow.Entry{Sample()[:5], nil, Sample()[5:]} {
			if err := s.Write(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			scribble(batch)
		}
		p.commit(t, s)
		if !p.Forgets {
			Same(t, p.Read(t), SampleContent(t))
		}
	})
	t.Run("keeps nothing as a whole", func(t *testing.T) {
		p := place(t)
		p.commit(t, p.Open(t))
		if !p.Forgets {
			Same(t, p.Read(t), Content{})
		}
	})
	t.Run("leaves nothing without Commit", func(t *testing.T) {
		p := place(t)
		s := p.Open(t)
		if err := s.Write(t.Context(), Sample()); err != nil {
			t.Fatal(err)
		}
		closeTwice(t, s)
		if p.Atomic {
			Same(t, p.Read(t), Content{})
		}
	})
	t.Run("stops when its context ends", func(t *testing.T) {
		p := place(t)
		s := p.Open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := s.Write(ctx, Sample())
		if err == nil {
			err = s.Commit(ctx)
		}
		if err == nil && !p.Forgets {
			t.Error("it went on")
		}
		closeTwice(t, s)
	})
}

func (p SinkPlace) commit(t *testing.T, s flow.Sink) {
	t.Helper()
	if err := s.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeTwice(t, s)
}

// scribble spoils what a sink must not have kept.
func scribble(batch []flow.Entry) {
	for i := range batch {
		for _, b := range [][]byte{batch[i].Key, batch[i].Value} {
			for j := range b {
				b[j] = 'X'
			}
		}
	}
}
