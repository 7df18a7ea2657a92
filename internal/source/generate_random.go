package source

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// random is a small generator (SplitMix64) that can be started anywhere at no cost, so that
// each key's data follows from the seed and the key's number alone.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// mix is a bijection: different numbers stay different.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (r *random) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.next(), n)
	return hi
}

const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// Made-up text is most of the work of making data up, and a filled server should
// wait for none of it. So eight characters are made at once, side by side in a word.
const (
	ones  = 0x0101010101010101
	evens = 0x00ff00ff00ff00ff
)

// from is 1 in each byte of x, all below 128, that is at least n, else 0.
func from(x uint64, n uint64) uint64 { return (x + (128-n)*ones) >> 7 & ones }

// text appends n random characters of the alphabet: six bits of a number each, ten
// of one number.
func (r *random) text(dst []byte, n int) []byte {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	p := dst[at:]
	for ; len(p) >= 10; p = p[10:] {
		x := r.next()
		binary.LittleEndian.PutUint64(p, eightOf64(x))
		p[8], p[9] = alphabet[x>>48&63], alphabet[x>>54&63]
	}
	if len(p) > 0 {
		x := r.next()
		for i := range p {
			p[i] = alphabet[x&63]
			x >>= 6
		}
	}
	return dst
}

// eightOf64 turns the lowest eight groups of six bits into characters of the alphabet.
func eightOf64(x uint64) uint64 {
	// Each step moves the upper halves of its groups up, until each has a byte.
	x = x&0xffffff | x<<8&0x00ffffff00000000
	x = x&0x00000fff00000fff | x<<4&0x0fff00000fff0000
	x = x&0x003f003f003f003f | x<<2&0x3f003f003f003f00
	return x + 'a'*ones - from(x, 26)*('a'+26-'A') - from(x, 52)*('A'+26-'0') - from(x, 62)*('0'+10-'-') + from(x, 63)*('_'-'-'-1)
}

// letters appends n random letters, eight of one number.
func (r *random) letters(dst []byte, n int) []byte {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	p := dst[at:]
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, eightOf52(r.next()))
	}
	if len(p) > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], eightOf52(r.next()))
		copy(p, last[:])
	}
	return dst
}

// eightOf52 turns each byte into the letter that it selects, as a fraction of 256.
func eightOf52(x uint64) uint64 {
	x = (x&evens*52)>>8&evens | (x>>8&evens*52)>>8&evens<<8
	return x + 'a'*ones - from(x, 26)*('a'+26-'A')
}
