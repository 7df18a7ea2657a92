package rdb

import "errors"

var errLZF = errors.New("bad LZF data")

// maxLZFRatio bounds how many bytes one byte of LZF data can stand for: the
// longest reference is three bytes for 264.
const maxLZFRatio = 264 / 3

// usualLZFRatio is what is taken for granted when making room.
const usualLZFRatio = 4

// appendLZF appends the decompressed form of src, which must be exactly n bytes
// long, to dst. Room is made for what such data usually yields; for more it
// grows as it comes, so a lying n costs nothing.
func appendLZF(dst, src []byte, n uint64) ([]byte, error) {
	if n > uint64(len(src))*maxLZFRatio {
		return dst, errLZF
	}
	start := len(dst)
	want := start + int(n)
	dst = grow(dst, min(int(n), usualLZFRatio*len(src)))
	for i := 0; i < len(src); {
		ctrl := int(src[i])
		i++
		if ctrl < 32 { // a literal run of ctrl+1 bytes
			run := ctrl + 1
			if len(src)-i < run || want-len(dst) < run {
				return dst, errLZF
			}
			dst = append(dst, src[i:i+run]...)
			i += run
			continue
		}
		length := ctrl >> 5
		if length == 7 {
			if i >= len(src) {
				return dst, errLZF
			}
			length += int(src[i])
			i++
		}
		length += 2
		if i >= len(src) {
			return dst, errLZF
		}
		from := len(dst) - (ctrl&31<<8 | int(src[i])) - 1
		i++
		if from < start || want-len(dst) < length {
			return dst, errLZF
		}
		// The copied range may overlap what is being written: the reference then
		// repeats its own output.
		for length > 0 {
			part := min(length, len(dst)-from)
			dst = append(dst, dst[from:from+part]...)
			from += part
			length -= part
		}
	}
	if len(dst) != want {
		return dst, errLZF
	}
	return dst, nil
}

// grow returns b with room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	g := make([]byte, len(b), max(len(b)+n, 2*cap(b)))
	copy(g, b)
	return g
}
