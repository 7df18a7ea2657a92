package rdb

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestDecimal: what decimal reads is what strconv reads of it, to the last bit.
func TestDecimal(t *testing.T) {
	taken := 0
	check := func(s string) {
		t.Helper()
		got, ok := decimal([]byte(s))
		if !ok {
			return
		}
		taken++
		want, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("%s is %v here and %v there, %v", s, got, want, err)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		f := rng.NormFloat64() * math.Pow10(rng.IntN(12)-6)
		check(strconv.FormatFloat(f, 'f', -1, 64))
		check(strconv.FormatFloat(f, 'g', 17, 64))
		check(strconv.FormatFloat(f, 'f', rng.IntN(19), 64))
		n := strconv.FormatUint(rng.Uint64()>>rng.IntN(64), 10)
		check(n)
		at := rng.IntN(len(n)) + 1
		check(n[:at] + "." + n[at:])
	}
	// In the middle between two numbers, and a hair beside it.
	for range 50_000 {
		for bits, middles := range map[int][]string{52: {".5", ".501", ".499"}, 51: {".25", ".75", ".251", ".749"}, 50: {".125", ".375"}} {
			n := strconv.FormatUint(1<<bits|rng.Uint64N(1<<bits), 10)
			for _, m := range middles {
				check(n + m)
			}
		}
	}
	for _, s := range []string{"0.5", "2.5", "9007199254740993", "9007199254740993.5", "18446744073709551.615", "1.8446744073709551615", "0.1", "0001.5", "-7.25"} {
		check(s)
	}
	if taken < 1_200_000 {
		t.Errorf("only %d were read here", taken)
	}
	for _, s := range []string{"", "-", ".", "-.5", "0", "-0", "1e5", "inf", "nan", "+1", "1_0", "0x1", "1.2.3", " 1", "18446744073709551616", "123456789012345678901.5"} {
		if _, ok := decimal([]byte(s)); ok {
			t.Errorf("%q was taken", s)
		}
	}
}
