package proc

import "time"

// Look is what the process table shows of a process.
type Look struct {
	// State is Gone when that very process is not there any more.
	State State
	// CPU is the processor time that all of its threads have used; the table is exact to
	// a hundredth of a second. CPUKnown is false where it does not tell.
	CPU      time.Duration
	CPUKnown bool
}
