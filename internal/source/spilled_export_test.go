package source

import "testing"

// SpillAbove sets for a test from what size on values are not held in memory.
func SpillAbove(t testing.TB, limit int) {
	before := spillAbove
	spillAbove = limit
	t.Cleanup(func() { spillAbove = before })
}
