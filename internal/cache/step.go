package cache

import "time"

// Step is one action of the reconciler, written down before it is done and
// again when it is over. Its ID is made from what it does and to what, so the
// same need always yields the same step.
type Step struct {
	ID     string // "<kind> <target>"
	Kind   string
	Unit   string // key of the record whose plan it belongs to, with its kind: "group us-east-1/orders"
	Target string // key of the cluster or snapshot that it acts on

	State    StepState
	Attempts int
	// NotBefore is when a failed step may be tried again.
	NotBefore time.Time
	// Error of the last attempt, in words. Permanent says that another attempt cannot help.
	Error     string
	Permanent bool
	StartedAt time.Time
	EndedAt   time.Time
}

// StepState tells how far a step is.
type StepState string

// A step that is running when the service starts was cut short and is run again.
const (
	StepRunning StepState = "running"
	StepFailed  StepState = "failed"
)
