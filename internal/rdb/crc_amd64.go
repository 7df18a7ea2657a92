package rdb

import (
	"encoding/binary"

	"golang.org/x/sys/cpu"
)

// With a processor that multiplies polynomials, sixteen bytes are brought forward
// by any distance with two multiplications: their halves times x to the power of
// that distance, which gives sixteen bytes again that have the same remainder there.
// So four such pieces go through the input side by side and are made one in the end.

const (
	// foldPiece is what is brought forward at once; the input is a multiple of it.
	foldPiece = 16
	// foldFrom is the shortest input: the four pieces that it begins with.
	foldFrom = 4 * foldPiece
)

var canFold = cpu.X86.HasPCLMULQDQ

// foldPowers bring forward by four pieces and by one; of each pair
// the first is for the half that comes first.
var foldPowers = [4]uint64{xTo(512 + 64), xTo(512), xTo(128 + 64), xTo(128)}

// xTo is x to the power of n-1 modulo the checksum's polynomial: in this order of the
// bits a product comes out multiplied by x once too often.
func xTo(n int) uint64 {
	p := uint64(1) << 63
	for range n - 1 {
		p = timesX(p)
	}
	return p
}

// foldCRC folds whole pieces, at least four, to one.
func foldCRC(crc uint64, p []byte) (folded [16]byte) {
	var last [2]uint64
	foldPieces(&last, &foldPowers, crc, p)
	binary.LittleEndian.PutUint64(folded[:], last[0])
	binary.LittleEndian.PutUint64(folded[8:], last[1])
	return folded
}

// foldPieces is foldCRC.
//
//go:noescape
func foldPieces(last *[2]uint64, powers *[4]uint64, crc uint64, p []byte)
