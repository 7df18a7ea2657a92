package memcache

import (
	"errors"
	"testing"
)

// TestDumpReplies: newer servers say OK before the list, and before they refuse; a refusal for now is asked again.
func TestDumpReplies(t *testing.T) {
	for said, want := range map[string]int64{
		"END\r\n":                 0,
		"key=a exp=-1\r\nEND\r\n": 1,
		"OK\r\nkey=a exp=-1\r\nkey=b\x20\r\nEND\r\n": 2,
		"OK\r\nEND\r\n": 0,
		"BUSY currently processing\r\nOK\r\nERROR locked try again later\r\nOK\r\nkey=a exp=1\r\nEND\r\n": 1,
		"OK\r\n":                         -1,
		"OK\r\nOK\r\n":                   -1,
		"ERROR metadump not allowed\r\n": -1,
		"key=a exp=-1\r\n":               -1,
		"key=a exp=-1\r\nkey\r\n":        -1,
	} {
		list, err := newSpool()
		if err != nil {
			t.Fatal(err)
		}
		err = dump(t.Context(), saying(said), list)
		if bad := err != nil; bad != (want < 0) || !bad && list.n != want {
			t.Errorf("%q: %d keys, %v", said, list.n, err)
		}
		if err := list.close(); err != nil {
			t.Error(err)
		}
		if said == "ERROR metadump not allowed\r\n" && !errors.Is(err, ErrReply) {
			t.Errorf("%q: %v", said, err)
		}
	}
}
