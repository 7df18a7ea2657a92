package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"holdfast.dev/internal/migrate"
)

// liveTick is how often the screen is brought up to date.
const liveTick = 200 * time.Millisecond

// liveScreen shows how far a migration is. Between hide and show it leaves the
// terminal to a question.
type liveScreen struct {
	log *slog.Logger

	mu     sync.Mutex
	steps  *phases
	hidden bool
}

func newLiveScreen(steps *phases, w io.Writer) *liveScreen {
	return &liveScreen{steps: steps, log: slog.New(slog.NewTextHandler(w, nil))}
}

func (s *liveScreen) tell(what string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps.done() // its bars would be torn apart
	s.log.Info(what, args...)
}

func (s *liveScreen) hide() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = true
	s.steps.done()
}

func (s *liveScreen) show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = false
}

var liveLabels = map[string]string{migrate.PhaseFull: "copy", migrate.PhaseCatchUp: "follow"}

func (s *liveScreen) update(st migrate.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hidden {
		s.steps.at(liveLabels[st.Phase], st.Keys, st.Total, st.Dirty)
	}
}

// watch shows what status says until stop is called, which waits.
func (s *liveScreen) watch(ctx context.Context, status func() migrate.Status) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(liveTick)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				s.update(status())
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		s.hide()
	}
}
