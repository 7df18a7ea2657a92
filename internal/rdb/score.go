package rdb

import (
	"math"
	"math/bits"
)

// Sorted sets in packed lists have their scores as decimal text, most of them with
// as many digits as tell every number apart. Reading those takes a third of the time that
// walking such a set takes, so the common form is read here; every other one is for strconv.

// tens are the powers of ten that fit into 64 bits.
var tens = func() (t [20]uint64) {
	t[0] = 1
	for i := 1; i < len(t); i++ {
		t[i] = 10 * t[i-1]
	}
	return t
}()

// decimal reads digits, with a point and a sign perhaps, to the nearest number, as
// strconv.ParseFloat does. It takes no other form, nor more than 19 digits; ok says whether it did.
func decimal(b []byte) (f float64, ok bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	point := -1
	var n uint64
	for i, c := range b {
		switch {
		case '0' <= c && c <= '9':
			n = 10*n + uint64(c-'0')
		case c == '.' && point < 0 && i > 0:
			point = i
		default:
			return 0, false
		}
	}
	behind := 0
	if point >= 0 {
		behind = len(b) - 1 - point
	} else if len(b) > 19 {
		return 0, false
	}
	if n == 0 || behind >= len(tens) {
		return 0, false
	}
	f = quotient(n, behind)
	if neg {
		f = -f
	}
	return f, true
}

// quotient is n, which is not 0, divided by a power of ten, rounded to the nearest and
// in the middle to even.
func quotient(n uint64, power int) float64 {
	if power == 0 {
		return float64(n)
	}
	d := tens[power]
	nUp, dUp := bits.LeadingZeros64(n), bits.LeadingZeros64(d)
	n, d = n<<nUp, d<<dUp
	exp := dUp - nUp - 64
	hi, lo := n, uint64(0)
	if n >= d { // the quotient shall have 64 bits, and not more
		hi, lo = n>>1, n<<63
		exp++
	}
	q, rest := bits.Div64(hi, lo, d)
	const spare = 64 - 53
	cut, half := q&(1<<spare-1), uint64(1)<<(spare-1)
	q >>= spare
	if cut > half || cut == half && (rest != 0 || q&1 == 1) {
		q++
	}
	return float64(q) * math.Float64frombits(uint64(exp+spare+1023)<<52)
}
