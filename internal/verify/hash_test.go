package verify

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// TestMurmurVerification is the check that the hash's authors publish with it:
// the hash of the hashes of {}, {0}, {0,1} … under seeds 256, 255, 254 …
func TestMurmurVerification(t *testing.T) {
	var keys [256]byte
	var all []byte
	for i := range 256 {
		keys[i] = byte(i)
		seed := uint64(256 - i)
		b := murmur(keys[:i], Hash{seed, seed}).bytes()
		all = append(all, b[:]...)
	}
	final := murmur(all, Hash{}).bytes()
	if got := binary.LittleEndian.Uint32(final[:]); got != 0x6384BA69 {
		t.Errorf("verification value %08x, want 6384ba69", got)
	}
}

func TestMurmurVectors(t *testing.T) {
	for text, want := range map[string]Hash{
		"":      {},
		"hello": {0xcbd8a7b341bd9b02, 0x5b1e906a48ae1d19},
		"The quick brown fox jumps over the lazy dog": {0xe34bbc7bbc071b6c, 0x7a433ca9c49a9347},
	} {
		if got := murmur([]byte(text), Hash{}); got != want {
			t.Errorf("%q: %x, want %x", text, got, want)
		}
	}
}

func TestHashAddCarries(t *testing.T) {
	h := Hash{^uint64(0), 1}
	h.add(Hash{2, 3})
	if want := (Hash{1, 5}); h != want {
		t.Errorf("%x, want %x", h, want)
	}
}

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
