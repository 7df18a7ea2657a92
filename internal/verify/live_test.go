package verify

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.dev/internal/flow"
)

// moving is an end of one key whose value is told each time that it is read.
func moving(name string, value func() string) LiveEnd {
	entry := func() flow.Entry { return str(0, "k", value(), 0) }
	return LiveEnd{
		Name: name,
		Open: func(context.Context) (flow.Source, error) { return &memory{entries: []flow.Entry{entry()}}, nil },
		Read: func(_ context.Context, _ int, _ [][]byte, yield func(*flow.Entry) bool) error {
			e := entry()
			yield(&e)
			return nil
		},
		Missing: func(context.Context, int, [][]byte) ([][]byte, error) { return nil, nil },
		List: func(_ context.Context, yield func(int, []byte) bool) error {
			yield(0, []byte("k"))
			return nil
		},
	}
}

func TestAKeyThatIsWrittenToAllTheTime(t *testing.T) {
	for name, test := range map[string]struct {
		// second tells what the second end has when the first has had n values.
		second func(n int) string
		want   LiveReport
	}{
		"it follows, a little later": {func(n int) string { return fmt.Sprint(n - 3) }, LiveReport{Keys: 1, Settled: 1}},
		"it stands still":            {func(int) string { return "0" }, LiveReport{Keys: 1, Different: 1}},
		"it goes another way":        {func(n int) string { return fmt.Sprint("x", n) }, LiveReport{Keys: 1, Unsettled: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				first := moving("a", func() string { n++; return fmt.Sprint(n) })
				r, err := CompareLive(t.Context(), first, moving("b", func() string { return test.second(n) }), LiveOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if test.want.Different != int64(len(r.Differences)) {
					t.Errorf("%d are listed", len(r.Differences))
				}
				r.Differences = nil
				if got, want := fmt.Sprint(*r), fmt.Sprint(test.want); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			})
		})
	}
}

// TestWhatWasReadAtFirstDoesNotCount: the second end has what the first had when
// everything was read, and lost the write that came then.
func TestWhatWasReadAtFirstDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		first := moving("a", func() string {
			if time.Now().Equal(begun) {
				return "old"
			}
			return "new"
		})
		second := moving("b", func() string {
			time.Sleep(time.Millisecond) // of the bubble: the write comes after the first reading
			if time.Since(begun) < 2*time.Millisecond {
				return "older"
			}
			return "old"
		})
		r, err := CompareLive(t.Context(), first, second, LiveOptions{})
		if err != nil || r.Different != 1 {
			t.Errorf("%v: %+v", err, r)
		}
	})
}
