package migrate

import (
	"time"

	"holdfast.dev/internal/verify"
)

// Report is how a migration went.
type Report struct {
	Began time.Time `json:"began"`
	// Seconds it took in all, and until the target was in step for the first time.
	Seconds     float64 `json:"seconds"`
	FullSeconds float64 `json:"fullSeconds"`
	// Status is where the carrier was at the end.
	Status Status `json:"status"`
	// Functions are the libraries at the target.
	Functions int `json:"functions"`
	// Rehearsal is the comparison with writers at work, Final the one that counts,
	// with writes held. Nil where there was none.
	Rehearsal *Comparison `json:"rehearsal,omitempty"`
	Final     *Comparison `json:"final,omitempty"`
	// Held says how writes were held.
	Held string `json:"held,omitempty"`
	// From the moment that writes were to be held: ReadySeconds until both ends
	// were seen to agree, CutSeconds until the target took writes, PauseSeconds
	// until clients had been switched or released.
	ReadySeconds float64 `json:"readySeconds"`
	CutSeconds   float64 `json:"cutSeconds"`
	PauseSeconds float64 `json:"pauseSeconds"`
	// DrainedSeconds is when, since Began, the target had everything.
	DrainedSeconds float64 `json:"drainedSeconds"`
	// Switched: clients write to the target now.
	Switched bool `json:"switched"`
	// Undo tells how to let the source take writes again; Unfenced why it may do so by itself.
	Undo     string `json:"undo,omitempty"`
	Unfenced string `json:"unfenced,omitempty"`
	// Failed are the cut-overs that were taken back, with the reasons.
	Failed []string `json:"failed"`
}

// Comparison is one look at both ends.
type Comparison struct {
	// Scope is "rehearsal", "changed" or "all".
	Scope        string    `json:"scope"`
	Keys         int64     `json:"keys"`
	Equal        bool      `json:"equal"`
	Seconds      float64   `json:"seconds"`
	Fingerprints [2]string `json:"fingerprints"`
	// Report names what differs.
	Report *verify.Report `json:"report"`
}
