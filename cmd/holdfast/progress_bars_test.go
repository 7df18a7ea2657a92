package main

import (
	"io"
	"testing"

	"github.com/vbauerster/mpb/v8"

	"holdfast.dev/internal/testkit"
)

// On a terminal a step ends wherever it was: a command that fails, is interrupted, or
// has something to ask must not wait for a bar that nobody fills any more.
func TestBarsEndWhereverTheyAre(t *testing.T) {
	for name, tc := range map[string]struct{ total, keys int64 }{
		"not begun": {100, 0}, "half": {100, 40}, "full": {100, 100}, "more than was thought": {100, 140},
		"of unknown length": {0, 40}, "empty": {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := &progressGroup{bars: mpb.New(mpb.WithOutput(io.Discard), mpb.WithAutoRefresh())}
			p := g.start("copy", tc.total)
			p.Set(tc.keys)
			p.Done()
			over := make(chan struct{})
			go func() {
				g.wait()
				close(over)
			}()
			testkit.Wait(t, patience, func() bool {
				select {
				case <-over:
					return true
				default:
					return false
				}
			}, "the bar never ends")
		})
	}
}
