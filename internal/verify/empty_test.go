package verify

import (
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// A hash of no fields, which Valkey 9 has for a moment, is no difference to none.
func TestCompareEmptyHash(t *testing.T) {
	for _, typ := range []byte{rdb.TypeHash, rdb.TypeHash2} {
		empty := flow.Entry{Key: []byte("h"), Type: typ, Value: []byte{0}, Version: 80, Idle: -1, Freq: -1}
		if r := compareAt(t, static("a", empty), static("b"), CompareOptions{}); !r.Equal || r.Expired != 1 {
			t.Errorf("%v %+v", lines(r), r)
		}
	}
}
