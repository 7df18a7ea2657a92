package verify

import (
	"encoding/binary"
	"math/bits"
)

// Hash is a 128-bit hash or a sum of such; the zero Hash is the sum of nothing.
type Hash struct{ Lo, Hi uint64 }

// add adds modulo 2^128.
func (h *Hash) add(o Hash) {
	var carry uint64
	h.Lo, carry = bits.Add64(h.Lo, o.Lo, 0)
	h.Hi, _ = bits.Add64(h.Hi, o.Hi, carry)
}

// bytes is the hash as 16 bytes, the low half first, each little-endian.
func (h Hash) bytes() (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:], h.Lo)
	binary.LittleEndian.PutUint64(b[8:], h.Hi)
	return b
}

const (
	murmurC1 = 0x87c37b91114253d5
	murmurC2 = 0x4cf5ad432745937f
)

// murmur is MurmurHash3 x64 128 of p, from any 128-bit state instead of a seed
// in both halves: a result can be the state that the next part starts from. The
// length of p goes into the result, so parts need no separators.
func murmur(p []byte, h Hash) Hash {
	n := uint64(len(p))
	if len(p) >= 16 {
		h = blocks(p, h)
		p = p[len(p)&^15:]
	}
	return finish(p, h, n)
}

// blocks takes the whole blocks of 16 bytes that p begins with.
func blocks(p []byte, h Hash) Hash {
	h1, h2 := h.Lo, h.Hi
	for len(p) >= 16 {
		k1 := binary.LittleEndian.Uint64(p)
		k2 := binary.LittleEndian.Uint64(p[8:])
		p = p[16:]
		h1 ^= bits.RotateLeft64(k1*murmurC1, 31) * murmurC2
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= bits.RotateLeft64(k2*murmurC2, 33) * murmurC1
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	return Hash{h1, h2}
}

// finish takes the bytes behind the last whole block, and how many there were in all.
func finish(p []byte, h Hash, n uint64) Hash {
	h1, h2 := h.Lo, h.Hi
	if len(p) > 0 {
		k1, k2 := tail(p)
		// Without tail bytes beyond the eighth, k2 is 0 and changes nothing.
		h2 ^= bits.RotateLeft64(k2*murmurC2, 33) * murmurC1
		h1 ^= bits.RotateLeft64(k1*murmurC1, 31) * murmurC2
	}
	h1 ^= n
	h2 ^= n
	h1 += h2
	h2 += h1
	h1 = finalMix(h1)
	h2 = finalMix(h2)
	h1 += h2
	h2 += h1
	return Hash{h1, h2}
}

// running is murmur of bytes that come in parts.
type running struct {
	h    Hash
	n    uint64
	rest [16]byte // bytes that make no block yet, as many as n says
}

func (r *running) add(p []byte) {
	have := int(r.n & 15)
	r.n += uint64(len(p))
	if have > 0 {
		took := copy(r.rest[have:], p)
		if have+took < 16 {
			return
		}
		r.h = blocks(r.rest[:], r.h)
		p = p[took:]
	}
	r.h = blocks(p, r.h)
	copy(r.rest[:], p[len(p)&^15:])
}

func (r *running) sum() Hash { return finish(r.rest[:r.n&15], r.h, r.n) }

// tail reads 1 to 15 bytes as two little-endian numbers, absent bytes as 0.
func tail(p []byte) (k1, k2 uint64) {
	if len(p) >= 8 {
		return binary.LittleEndian.Uint64(p), short(p[8:])
	}
	return short(p), 0
}

// short reads 0 to 7 bytes as a little-endian number.
func short(p []byte) (k uint64) {
	if len(p) >= 4 {
		k = uint64(binary.LittleEndian.Uint32(p))
		// Reading the last four bytes again, shifted to their place, covers 4 to 7
		// bytes without a loop; overlapping bits agree.
		return k | uint64(binary.LittleEndian.Uint32(p[len(p)-4:]))<<(8*(len(p)-4))
	}
	for i := len(p) - 1; i >= 0; i-- {
		k = k<<8 | uint64(p[i])
	}
	return k
}

func finalMix(k uint64) uint64 {
	k = (k ^ k>>33) * 0xff51afd7ed558ccd
	k = (k ^ k>>33) * 0xc4ceb9fe1a85ec53
	return k ^ k>>33
}
