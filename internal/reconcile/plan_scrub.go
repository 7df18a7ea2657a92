package reconcile

import (
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
)

// scrubUnit is the one unit of all proofs: they are made one at a time.
const scrubUnit = "scrub"

// How often what is stored is read again, and how long that may be put off while data
// are moved for somebody who waits.
const (
	scrubEvery  = 6 * 24 * time.Hour
	scrubAtMost = 7 * 24 * time.Hour
	// scrubRotten is how often one that was found damaged is looked at again: a key or
	// a file may have been put back.
	scrubRotten = 24 * time.Hour
	// scrubUnread is how often it is tried again to read one that could not be read: a
	// disk may have been away.
	scrubUnread = time.Hour
	scrubLook   = time.Minute
)

// PlanScrub says which stored snapshot is to be read again and held against its
// manifest: the one that was proved longest ago, if that is long enough. It waits for
// real transfers, and gives way to one that begins, but not for ever.
func PlanScrub(all []cache.Snapshot, steps map[string]cache.Step, inFlight map[string]bool, moving bool, now time.Time) Decision {
	p := planner{v: &View{Steps: steps, InFlight: inFlight}, now: now}
	oldest, due := nextScrub(all)
	late := oldest != nil && due.Add(scrubAtMost-scrubEvery).Before(now)
	switch {
	case len(inFlight) > 0 && (moving && !late || pointless(all, inFlight)):
		p.quiet()
	case len(inFlight) > 0 || oldest == nil:
	case due.After(now):
		p.again(due)
	case moving && !late:
		p.again(now.Add(scrubLook))
	default:
		a := Action{Kind: actScrub, Target: oldest.Key()}
		if reason, over := exhausted(steps, a); over {
			a.Reason = reason
		}
		p.do(a)
	}
	return p.d
}

// pointless tells whether a snapshot is being read that is to go, or has gone: it
// must not be written to any more.
func pointless(all []cache.Snapshot, inFlight map[string]bool) bool {
	return !slices.ContainsFunc(all, func(s cache.Snapshot) bool {
		return !s.Deleting && inFlight[Action{Kind: actScrub, Target: s.Key()}.ID()]
	})
}

// nextScrub is the snapshot that is due first, and when; nil if none ever is.
func nextScrub(all []cache.Snapshot) (next *cache.Snapshot, due time.Time) {
	for i := range all {
		s := &all[i]
		if at, ok := scrubDue(s); ok && (next == nil || at.Before(due)) {
			next, due = s, at
		}
	}
	return next, due
}

// scrubDue is when a snapshot is to be proved. It was when it was taken.
func scrubDue(s *cache.Snapshot) (time.Time, bool) {
	proved := s.ProvedAt
	if proved.IsZero() {
		proved = s.CreatedAt
	}
	switch {
	case s.Deleting || inUse(s):
		return proved, false // to read it now is to do what is being done
	case s.Rotten == "" && s.Status != cache.StatusAvailable:
		return proved, false
	case s.Unread != "":
		return s.UnreadAt.Add(scrubUnread), true
	case s.Rotten != "":
		return proved.Add(scrubRotten), true
	}
	return proved.Add(scrubEvery), true
}

// isMoving tells whether data are being moved for anybody who waits.
func isMoving(running map[string]map[string]bool) bool {
	for _, unit := range running {
		for id := range unit {
			kind, _, _ := strings.Cut(id, " ")
			switch Kind(kind) {
			case actSeed, actVerify, actSnapshot, actCopy, actExport, actImport:
				return true
			}
		}
	}
	return false
}
