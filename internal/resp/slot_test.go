package resp

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSlot(t *testing.T) {
	for key, want := range map[string]int{
		"123456789": 0x31c3, "": 0, "foo": 12182, "bar": 5061,
		"{foo}x": 12182, "a{foo}{bar}": 12182, "{}foo": Slot([]byte("{}foo")),
	} {
		if got := Slot([]byte(key)); got != want {
			t.Errorf("%q: slot %d, want %d", key, got, want)
		}
	}
	if Slot([]byte("{}foo")) == Slot([]byte("foo")) || Slot([]byte("{foo")) == Slot([]byte("foo")) {
		t.Error("an empty or open tag counts as one")
	}
}

// TestCRC16 compares eight bytes at once with one bit at a time.
func TestCRC16(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bytes")
		want := uint16(0)
		for _, c := range b {
			want ^= uint16(c) << 8
			for range 8 {
				carry := want&0x8000 != 0
				want <<= 1
				if carry {
					want ^= 0x1021
				}
			}
		}
		if got := crc16(b); got != want {
			t.Fatalf("crc16(%x) = %04x, want %04x", b, got, want)
		}
	})
}
