package rdb

import (
	"encoding/binary"
	"math"
	"strconv"
)

// counted writes the elements of a value one after the other, and before them
// how many they are. Their number is known last: packed lists need not tell it.
func (t *Transcoder) counted(typ byte, version int, value []byte) error {
	return t.countAhead(func() error { return t.dec.Walk(typ, version, value, t.visit) })
}

// countAhead puts in front of what write appends to out the count that it leaves in n.
func (t *Transcoder) countAhead(write func() error) error {
	t.n = 0
	t.out = append(t.out[:0], 0) // room for the shortest count
	if err := write(); err != nil {
		return err
	}
	var count [9]byte
	n := AppendLength(count[:0], t.n)
	if more := len(n) - 1; more > 0 {
		end := len(t.out)
		t.out = append(t.out, n[:more]...) // any bytes, for room
		copy(t.out[1+more:], t.out[1:end])
	}
	copy(t.out, n)
	return nil
}

// element writes one element as the plain types have it.
func (t *Transcoder) element(e *Element) error {
	t.n++
	t.out = AppendString(t.out, e.A)
	switch e.Kind {
	case KindField:
		t.out = AppendString(t.out, e.B)
	case KindScored:
		if Supports(t.target.Version, TypeZSet2) {
			t.out = binary.LittleEndian.AppendUint64(t.out, math.Float64bits(e.Score))
		} else {
			t.out = appendTextScore(t.out, e.Score)
		}
	}
	return nil
}

// appendTextScore appends a score as Redis before 4 keeps it: a length and the
// shortest digits that give the same number again, or a mark for what has none.
func appendTextScore(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, 253)
	case math.IsInf(f, 1):
		return append(dst, 254)
	case math.IsInf(f, -1):
		return append(dst, 255)
	}
	at := len(dst)
	dst = strconv.AppendFloat(append(dst, 0), f, 'g', -1, 64)
	dst[at] = byte(len(dst) - at - 1)
	return dst
}
