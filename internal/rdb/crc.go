package rdb

import "encoding/binary"

// The checksum of RDB files and DUMP payloads is the CRC-64 of Jones: reflected
// in and out, initial value and final XOR zero. The check value of "123456789"
// is e9c6d914c4b8d9ca.
const crcPolyReflected = 0x95ac9329ac4bc9b5

// crcTables drive slicing-by-16: table k advances a byte by k further bytes.
// The standard library's hash/crc64 slices by 8 and, for polynomials other than
// its own two, only in long inputs; this is faster in both (see the benchmark).
var crcTables = makeCRCTables()

func makeCRCTables() *[16][256]uint64 {
	var t [16][256]uint64
	for i := range 256 {
		crc := uint64(i)
		for range 8 {
			crc = timesX(crc)
		}
		t[0][i] = crc
	}
	for k := 1; k < 16; k++ {
		for i := range 256 {
			crc := t[k-1][i]
			t[k][i] = crc>>8 ^ t[0][byte(crc)]
		}
	}
	return &t
}

// timesX multiplies a polynomial, the coefficient of 1 in its highest bit, by x modulo the checksum's.
func timesX(p uint64) uint64 {
	if p&1 != 0 {
		return p>>1 ^ crcPolyReflected
	}
	return p >> 1
}

// CRC64 adds p to a checksum; the checksum of nothing is 0.
func CRC64(crc uint64, p []byte) uint64 {
	if canFold && len(p) >= foldFrom {
		whole := len(p) &^ (foldPiece - 1)
		folded := foldCRC(crc, p[:whole])
		// What was folded has the checksum, from 0, of all that it was folded from.
		crc, p = slicedCRC(0, folded[:]), p[whole:]
	}
	return slicedCRC(crc, p)
}

// slicedCRC is CRC64 by the tables alone.
func slicedCRC(crc uint64, p []byte) uint64 {
	t := crcTables
	for len(p) >= 16 {
		a := crc ^ binary.LittleEndian.Uint64(p)
		b := binary.LittleEndian.Uint64(p[8:])
		crc = t[15][byte(a)] ^ t[14][byte(a>>8)] ^ t[13][byte(a>>16)] ^ t[12][byte(a>>24)] ^
			t[11][byte(a>>32)] ^ t[10][byte(a>>40)] ^ t[9][byte(a>>48)] ^ t[8][a>>56] ^
			t[7][byte(b)] ^ t[6][byte(b>>8)] ^ t[5][byte(b>>16)] ^ t[4][byte(b>>24)] ^
			t[3][byte(b>>32)] ^ t[2][byte(b>>40)] ^ t[1][byte(b>>48)] ^ t[0][b>>56]
		p = p[16:]
	}
	for _, c := range p {
		crc = crc>>8 ^ t[0][byte(crc)^c]
	}
	return crc
}
