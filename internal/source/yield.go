package source

import (
	"errors"
	"iter"

	"holdfast.dev/internal/flow"
)

var (
	errClosed = errors.New("the source is closed")
	// errStop passes up that whoever reads the entries has had enough. It never
	// leaves this package.
	errStop = errors.New("stopped by the reader")
)

// oneError makes the sequence that flow.Source promises of a function that hands
// out entries and returns an error: the error comes once, last, and never after
// the reader has stopped.
func oneError(run func(yield func(*flow.Entry) bool) error) iter.Seq2[*flow.Entry, error] {
	return func(yield func(*flow.Entry, error) bool) {
		stopped := false
		err := run(func(e *flow.Entry) bool {
			stopped = stopped || !yield(e, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}
