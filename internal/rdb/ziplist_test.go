package rdb

import (
	"math"
	"testing"
)

// TestZiplistElements reads back every number at the edge of an encoding, and
// texts at the edges of lengths.
func TestZiplistElements(t *testing.T) {
	var want []element
	for n := int64(-20); n < 20; n++ {
		want = append(want, element{n: n, isInt: true})
	}
	for shift := range 64 {
		for _, n := range []int64{-2, -1, 0, 1} {
			want = append(want, element{n: 1<<shift + n, isInt: true}, element{n: -(1 << shift) + n, isInt: true})
		}
	}
	for _, n := range []int{0, 1, 62, 63, 64, 65, 250, 251, 252, 253, 254, 255, 16382, 16383, 16384, 70000} {
		want = append(want, element{b: make([]byte, n)}, element{n: 1, isInt: true})
	}
	var z ziplist
	for range 2 { // the second time in the same memory
		z.reset()
		for _, e := range want {
			z.add(e)
		}
		p, err := openPack(z.bytes(), true)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			got, ok, err := p.next()
			if err != nil || !ok || got.isInt != w.isInt || got.n != w.n || len(got.b) != len(w.b) {
				t.Fatalf("element %d: %d (%d bytes), %v, want %d (%d bytes)", i, got.n, len(got.b), err, w.n, len(w.b))
			}
		}
		if _, ok, err := p.next(); ok || err != nil {
			t.Errorf("more than was added: %v", err)
		}
	}
}

// TestTextScores reads back scores of the old form, to the last bit.
func TestTextScores(t *testing.T) {
	want := []float64{
		0, math.Copysign(0, -1), 1, -1.5, math.Pi, 1.0 / 3, 0.1, 1e21, 1e-7, 1 << 53, 1<<53 + 2, -(1 << 62),
		math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), 3.0000000000000004,
	}
	var members []Member
	for i, f := range want {
		members = append(members, Member{Name: appendInt(nil, int64(i)), Score: f})
	}
	typ, value, err := newTranscoder(t, Target{Version: 6}).Transcode(TypeZSet2, 9, AppendZSet2(nil, members))
	if err != nil || typ != TypeZSet {
		t.Fatal(typ, err)
	}
	v, err := Decode(typ, 6, value)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range v.Members {
		if math.Float64bits(m.Score) != math.Float64bits(want[i]) {
			t.Errorf("score %v is read as %v", want[i], m.Score)
		}
	}
	if len(v.Members) != len(want) {
		t.Errorf("%d members", len(v.Members))
	}
}
