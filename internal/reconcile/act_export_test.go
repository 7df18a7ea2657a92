package reconcile

import (
	"errors"
	"slices"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/testkit"
)

// An export that is given up leaves nothing in its bucket, and one whose bucket
// does not answer any more ends all the same.
func TestAnExportThatIsGivenUpIsTakenBack(t *testing.T) {
	for name, broken := range map[string]map[string]error{
		"only the export fails": {"export": cache.ErrPermanent},
		"so does taking back":   {"export": cache.ErrPermanent, "retract": errors.New("the bucket does not answer")},
		"nothing fails":         {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, t.TempDir())
			defer b.close()
			b.machine.broken = broken
			var calls []string
			b.machine.hook = func(_ int, name string) { calls = append(calls, name) }
			b.update(func(tx *store.Tx) error {
				s := cache.Snapshot{
					Region: "r", Name: "s", GroupID: "g", Status: cache.StatusCopying, CreatedAt: time.Now(), // a proof is not due
					Exports: []cache.Export{{TargetName: "e", Bucket: "b"}},
				}
				return records.Snapshots.Put(tx, s.Key(), s)
			})
			b.run()
			testkit.Wait(t, patience, func() bool {
				s := b.read().snapshots[0]
				return s.Status == cache.StatusAvailable && len(s.Exports) == 0
			}, "the export ends")
			b.stop()
			if took := slices.Contains(calls, "retract"); took != (len(broken) > 0) {
				t.Errorf("taken back: %v, after %v", took, calls)
			}
		})
	}
}
