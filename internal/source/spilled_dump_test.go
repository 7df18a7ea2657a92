package source

import (
	"bytes"
	"errors"
	"testing"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/flow/flowtest"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// dumped is a reply of DUMP as a connection gives it, spilled or not.
func dumped(t testing.TB, payload []byte, limit int) *resp.Reply {
	t.Helper()
	r := resp.NewReader(bytes.NewReader(resp.AppendBulk(nil, payload)))
	r.SpillAbove(limit, t.TempDir())
	t.Cleanup(func() { r.Close() })
	reply, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// A payload that was damaged on its way is refused before anybody sees the value,
// wherever it lies.
func TestTakeDump(t *testing.T) {
	value := rdb.AppendString(nil, bytes.Repeat([]byte("x"), 20_000))
	good := rdb.AppendDump(nil, rdb.TypeString, value, 11)
	bad := bytes.Clone(good)
	bad[9000]++
	for _, limit := range []int{0, 5000} {
		var e flow.Entry
		if there, err := takeDump(&e, dumped(t, good, limit)); !there || err != nil {
			t.Fatal(there, err)
		}
		if (e.Body != nil) != (limit > 0) || sizeOf(&e) != int64(len(value)) {
			t.Errorf("above %d: %d bytes in memory, %d in all", limit, len(e.Value), sizeOf(&e))
		}
		if got, err := flowtest.Value(&e); err != nil || !bytes.Equal(got, value) || e.Type != rdb.TypeString || e.Version != 11 {
			t.Errorf("above %d: %d bytes of type %d, version %d, %v", limit, len(got), e.Type, e.Version, err)
		}
		if _, err := takeDump(&e, dumped(t, bad, limit)); !errors.Is(err, rdb.ErrChecksum) {
			t.Errorf("above %d: %v", limit, err)
		}
	}
}

// What Valkey 9.1 gives for a moment of a hash whose fields have all expired is no key.
func TestEmptyHashIsGone(t *testing.T) {
	empty := rdb.AppendDump(nil, rdb.TypeHash, []byte{0}, 80)
	var e flow.Entry
	if there, err := takeDump(&e, dumped(t, empty, 0)); there || err != nil {
		t.Error(there, err)
	}
	a := answer{values: []resp.Reply{*dumped(t, empty, 0)}, expiries: []resp.Reply{{Kind: resp.Int, Int: -1}}}
	if what, err := a.fill(&e, 0, nil); what != gone || err != nil {
		t.Error(what, err)
	}
}
