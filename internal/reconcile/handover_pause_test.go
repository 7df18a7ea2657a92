package reconcile

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
)

// TestAHandoverInVainIsToldOf: writes waited for it as well, and longest of all.
func TestAHandoverInVainIsToldOf(t *testing.T) {
	b := newBench(t, t.TempDir())
	t.Cleanup(b.close)
	b.cluster("g", nil)
	b.run()
	b.eventually("available", groupIs("g", cache.StatusAvailable))
	b.breaks("hand over", errors.New("it was not elected"))
	b.upgrade("g")
	b.eventually("an attempt is in vain", func(w world) bool {
		u := w.groups[0].Upgrade
		return u != nil && slices.Contains(u.Pauses, 5*time.Second)
	})
	b.breaks("hand over", nil)
	b.eventually("upgraded", b.allOf("newer"))
	b.stop()
	if !slices.ContainsFunc(b.events(), func(e string) bool { return strings.Contains(e, "writes waited for 5s") }) {
		t.Errorf("no event tells of it: %v", b.events())
	}
}
