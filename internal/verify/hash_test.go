package verify

import (
	"encoding/binary"
	"testing"
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
