package flow_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/testkit"
)

// alphabet makes names and patterns in which every special byte stands often.
const alphabet = "aabbc*?[]^-\\\x00\xff"

func random(r *rand.Rand, most int) string {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// Glob fits what KEYS of every engine lists, for whatever pattern.
func TestGlobIsThatOfTheEngines(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		s := testkit.StartServer(t, b)
		r := rand.New(rand.NewPCG(11, 5))
		names := []string{"", "*", "[", "]", "a", "^", "-", "\\"}
		for range 300 {
			names = append(names, random(r, 7))
		}
		slices.Sort(names)
		names = slices.Compact(names)
		for _, n := range names {
			s.Must("SET", n, "")
		}
		for range 800 {
			p := random(r, 9)
			var there []string
			for _, k := range s.Must("KEYS", p).([]any) {
				there = append(there, k.(string))
			}
			slices.Sort(there)
			var fit []string
			for _, n := range names {
				if flow.Glob([]byte(p), []byte(n)) {
					fit = append(fit, n)
				}
			}
			if !slices.Equal(there, fit) {
				t.Fatalf("%q fits\n%q there and\n%q here", p, there, fit)
			}
		}
	})
}
