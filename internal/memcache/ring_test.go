package memcache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
)

// TestRingVectors: what another implementation, of another language, has computed: the owners of
// some keys, and a digest over those of ten thousand.
func TestRingVectors(t *testing.T) {
	servers := []string{"10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11311"}
	for _, c := range []struct {
		distribution string
		owners       map[string]int
		digest       string
	}{
		{
			Ketama,
			map[string]int{"a": 2, "foo": 2, "session:1234": 0, "user:42:profile": 2, "café": 1, "\x00\xff": 1},
			"7b84f670ad9d2889b23e21198f6f54026b1367e43ecbd0e202ec1cec88092e31",
		},
		{
			KetamaWeighted,
			map[string]int{"a": 1, "foo": 1, "session:1234": 1, "user:42:profile": 2, "café": 2, "\x00\xff": 2},
			"96dc7064e9730e8e2f1d0379dc42b999091696cb5d8378ac808e248957749b50",
		},
		{
			Modula,
			map[string]int{"a": 2, "foo": 1, "session:1234": 1, "user:42:profile": 0, "café": 2, "\x00\xff": 0},
			"e3b98b9c80eef67015b7109077d57b48c7c3025e7e40393400b0e30f1addb537",
		},
	} {
		r, err := NewRing(c.distribution, servers)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range c.owners {
			if got := r.Pick([]byte(key)); got != want {
				t.Errorf("%s: %q is on server %d, wanted %d", c.distribution, key, got, want)
			}
		}
		h := sha256.New()
		for i := range 10000 {
			h.Write([]byte{byte(r.Pick(fmt.Appendf(nil, "key:%d", i)))})
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.digest {
			t.Errorf("%s: the owners of all keys come to %s", c.distribution, got)
		}
	}
}
