package source

import (
	"fmt"
	"time"
)

// FollowState is what is needed to go on after a crash. It can be stored as
// JSON and holds no secret. It speaks of what the target has confirmed, and is
// right for that target alone.
type FollowState struct {
	Road string `json:"road"`
	// Source is the address, without password.
	Source string `json:"source"`
	// Server is the run id of the source.
	Server string `json:"server,omitempty"`
	// ReplID, Offset and DB are a place in the source's history up to which the
	// target holds everything. With no ReplID everything has to be read again.
	ReplID string `json:"replId,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	DB     int    `json:"db,omitempty"`
	// Pending keys have to be read again besides.
	Pending []ChangedKey `json:"pending,omitempty"`
}

// maxPending keys are stored; with more of them the place is not moved forward.
const maxPending = 1000

// State is what resuming needs. It changes as the target confirms.
func (f *Follow) State() FollowState {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state
	s.Pending = append([]ChangedKey(nil), s.Pending...)
	return s
}

// confirm notes that the target holds everything up to a place but some keys.
func (f *Follow) confirm(pos streamPos, hot map[touched]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshed = time.Time{}
	if pos.ID == "" || len(hot) > maxPending {
		return
	}
	f.state.ReplID, f.state.Offset, f.state.DB = pos.ID, pos.Offset, pos.DB
	f.state.Pending = nil
	for t := range hot {
		f.state.Pending = append(f.state.Pending, ChangedKey{t.db, []byte(t.key)})
	}
}

// reading notes since when the keys wait that are being read.
func (f *Follow) reading(since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshed = since
}

// resume is the place to go on from.
func (f *Follow) resume() (streamPos, error) {
	r := f.fo.Resume
	if r == nil || r.ReplID == "" {
		return streamPos{}, nil
	}
	if f.fo.Road != "" && f.fo.Road != r.Road {
		return streamPos{}, fmt.Errorf("the state was made by following as %s, which cannot go on by %s", r.Road, f.fo.Road)
	}
	return streamPos{ID: r.ReplID, Offset: r.Offset, DB: r.DB}, nil
}

// refused is why a state does not belong to the source.
func (f *Follow) refused() error {
	r := f.fo.Resume
	if r == nil || r.Source == "" || r.Source == f.opt.String() {
		return nil
	}
	return fmt.Errorf("the state is of %s, and %s does not go on with its history: resume from that source or from a replica of it, or begin without the state", r.Source, f.opt)
}
