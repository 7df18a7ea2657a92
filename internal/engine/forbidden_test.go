package engine

import (
	"testing"

	"holdfast.dev/internal/access"
)

// TestForbiddenByName: what nodes withhold from everybody no access string can name, and
// what they let pass it can.
func TestForbiddenByName(t *testing.T) {
	for _, w := range restricted {
		if got := access.Forbidden(w.command); got != (len(w.subs) == 0) {
			t.Errorf("%s forbidden: %v", w.command, got)
		}
		for _, s := range w.subs {
			if !access.Forbidden(w.command + "|" + s.name) {
				t.Errorf("%s|%s is withheld, and an access string can give it", w.command, s.name)
			}
		}
		for _, s := range w.safe {
			if access.Forbidden(w.command + "|" + s) {
				t.Errorf("%s|%s is not withheld, and no access string can give it", w.command, s)
			}
		}
	}
}
