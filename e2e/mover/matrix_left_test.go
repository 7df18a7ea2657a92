package mover

import (
	"fmt"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// fillFieldTTLs gives a server hashes whose fields expire, small and large.
func fillFieldTTLs(_ *testing.T, s *testkit.Server) {
	s.Must("SET", "plain", "v")
	s.Must("HSET", "small", "a", 1, "b", 2, "c", 3)
	s.Must("HPEXPIREAT", "small", 4_000_000_000_123, "FIELDS", 2, "a", "c")
	s.Must("HSET", "both", "f", "v", "g", "w")
	s.Must("HPEXPIREAT", "both", 4_000_000_000_999, "FIELDS", 1, "g")
	s.Must("PEXPIREAT", "both", 4_000_000_000_001)
	for i := range 900 {
		s.Must("HSET", "table", fmt.Sprintf("field:%d", i), i)
		if i%3 == 0 {
			s.Must("HPEXPIREAT", "table", 4_000_000_000_000+i, "FIELDS", 1, fmt.Sprintf("field:%d", i))
		}
	}
}

// TestMatrixOfFieldTTLs: between the engines that have them they arrive exactly, by
// every road. Into the others nothing is left out in silence: the movement is
// refused with the key's name.
func TestMatrixOfFieldTTLs(t *testing.T) {
	var able, all []catalog.Build
	for _, b := range engines(t) {
		if all = append(all, b); b.FieldTTL {
			able = append(able, b)
		}
	}
	if len(able) == 0 {
		t.Skip("ENGINE MISSING: none has expiries of fields; run scripts/engines install redis-8.0 valkey-9.1")
	}
	for i, b := range able {
		from := newOrigin(t, b, fillFieldTTLs)
		for j, target := range all {
			t.Run(b.Name+" to "+target.Name, func(t *testing.T) {
				to := testkit.StartServer(t, target)
				for _, r := range chosen(i, j, len(all)) {
					if target.FieldTTL {
						r.move(t, from, to, r.by, done)
						want(t, from.content, 0, to)
						emptied(to)
						continue
					}
					r.move(t, from, to, r.by, failed).says("field TTLs", `of database 0`)
					for k, v := range testkit.ReadContent(t, to).Keys {
						if v.Type == "hash" {
							t.Errorf("%v is there all the same", k)
						}
					}
					emptied(to)
				}
			})
		}
	}
}
