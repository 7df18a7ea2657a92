package flow

// Glob tells whether a name fits a pattern as the engines' KEYS and SCAN MATCH
// have it, byte by byte: * is any bytes, ? any one, [ab], [a-z] and [^a] one of a
// class, and \x the byte x itself. Its edges are the engines' too: a class
// that is not closed ends with the pattern, the ends of a range may stand the
// wrong way round, and [ab-] is a range up to the closing bracket. Ranges count
// bytes from 80 hexadecimal on as below zero, as engines on x86-64 do; those on
// ARM differ where only one end of a range is such a byte.
func Glob(pattern, name []byte) bool {
	if len(pattern) == 1 && pattern[0] == '*' {
		return true // which alone fits the empty name
	}
	p, s := pattern, name
	// Where to go on when what follows the last * does not fit. An earlier * need
	// not be tried again: what the last one may skip includes it.
	var afterStar, skipped []byte
	for {
		if len(p) > 0 && p[0] == '*' && len(s) > 0 {
			for len(p) > 0 && p[0] == '*' {
				p = p[1:]
			}
			if len(p) == 0 {
				return true
			}
			afterStar, skipped = p, s
			continue
		}
		fits := false
		if len(p) > 0 && len(s) > 0 {
			p, fits = globOne(p, s[0])
			s = s[1:]
		}
		if fits && len(s) == 0 {
			for len(p) > 0 && p[0] == '*' {
				p = p[1:]
			}
			if len(p) == 0 {
				return true
			}
		}
		if fits && len(s) > 0 && len(p) > 0 {
			continue
		}
		if len(skipped) <= 1 {
			return len(pattern) == 0 && len(name) == 0
		}
		skipped = skipped[1:]
		p, s = afterStar, skipped
	}
}

// globOne matches one byte against the pattern's first element, which is no *,
// and returns what of the pattern follows it.
func globOne(p []byte, c byte) ([]byte, bool) {
	switch {
	case p[0] == '?':
		return p[1:], true
	case p[0] == '[':
		return globClass(p[1:], c)
	case p[0] == '\\' && len(p) > 1:
		p = p[1:]
	}
	return p[1:], p[0] == c
}

// globClass matches a byte against a class, of which p begins after the bracket.
func globClass(p []byte, c byte) ([]byte, bool) {
	not := len(p) > 0 && p[0] == '^'
	if not {
		p = p[1:]
	}
	in := false
	for len(p) > 0 && p[0] != ']' {
		switch {
		case p[0] == '\\' && len(p) >= 2:
			in = in || p[1] == c
			p = p[2:]
		case len(p) >= 3 && p[1] == '-':
			a, b := int8(p[0]), int8(p[2])
			in = in || int8(c) >= min(a, b) && int8(c) <= max(a, b)
			p = p[3:]
		default:
			in = in || p[0] == c
			p = p[1:]
		}
	}
	if len(p) > 0 {
		p = p[1:]
	}
	return p, in != not
}
