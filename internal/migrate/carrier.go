package migrate

import (
	"context"
	"encoding/json"
	"time"
)

// The phases of a Carrier.
const (
	PhaseFull    = "full"     // everything is brought over
	PhaseCatchUp = "catch-up" // changes are
)

// Status is how far a Carrier is.
type Status struct {
	// Phase is PhaseFull or PhaseCatchUp.
	Phase string `json:"phase"`
	// Keys brought over of about Total; Dirty ones have changed and wait.
	Keys  int64 `json:"keys"`
	Total int64 `json:"total"`
	Dirty int64 `json:"dirty"`
	// Bytes of the source's stream that are not at the target yet, where there is a stream.
	Bytes int64 `json:"bytesBehind"`
	// Lag is how old the oldest change is that the target does not have.
	Lag time.Duration `json:"lagNs"`
	// Resyncs counts how often everything had to be read again.
	Resyncs int `json:"resyncs"`
	// Link says in words what is wrong with the connections; empty if nothing is.
	Link string `json:"link,omitempty"`
}

// InStep tells whether the target is behind by no more than lag.
func (s Status) InStep(lag time.Duration) bool {
	return s.Phase == PhaseCatchUp && s.Link == "" && s.Lag <= lag
}

// Carrier brings what a source holds to a target, and then what changes there.
type Carrier interface {
	// Road says in words how the data get there.
	Road() string
	// Run does it until ctx ends, which is no error, or until it cannot go on.
	Run(ctx context.Context) error
	// Status may be asked at any time.
	Status() Status
	// State is what another process needs to go on from here; nil if there is
	// nothing to go on from.
	State() (json.RawMessage, error)
	// Mark begins to note anew which keys change, and returns those noted since it
	// was called before; all means that they became too many to note.
	Mark() (keys []Key, all bool)
	// Drain is called while writes are held at the source. It returns when the
	// target has every write that the source acknowledged before.
	Drain(ctx context.Context) error
	// Finish parts the target from the source: it takes writes of clients from now on.
	Finish(ctx context.Context) error
}

// Holder keeps a source from being written to.
type Holder interface {
	// Hold returns when no write is acknowledged any more. save is called, before
	// anything is changed that a death of this process would leave changed, with
	// what puts it back.
	Hold(ctx context.Context, save func(undo json.RawMessage) error) (Held, error)
}

// Held is a source that takes no writes.
type Held interface {
	// Lost is closed when writes can no longer be ruled out.
	Lost() <-chan struct{}
	// Check asks whether a write got through all the same.
	Check(ctx context.Context) error
	// Means says in words how they are held.
	Means() string
	// Release lets writes go on as before.
	Release(ctx context.Context) error
	// Fence makes it final: writes are refused from now on, those that wait too.
	// It tells how to undo that, or why it could not be done.
	Fence(ctx context.Context) (undo string, err error)
}
