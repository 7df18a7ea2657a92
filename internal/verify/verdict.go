package verify

// verdict is what is found of a key: a Kind of difference or one of the values below.
type verdict Kind

const (
	verdictSame verdict = 128 + iota
	verdictSettled
	verdictTolerated
	verdictExpired
)

func (l *look) verdict(k *[2]side) verdict {
	a, b := &k[0], &k[1]
	switch {
	case !a.present && !b.present:
		return verdictSame
	case !a.present:
		return l.missing(b, verdict(MissingInA))
	case !b.present:
		return l.missing(a, verdict(MissingInB))
	case a.class != b.class:
		return verdict(TypeDiffers)
	case a.live != b.live:
		return verdict(ValueDiffers)
	case a.expireAt != b.expireAt:
		return l.expiry(a.expireAt, b.expireAt)
	case a.data != b.data: // but alike without expired hash fields
		return verdictExpired
	}
	return verdictSame
}

// missing judges a key that only one end has, s.
func (l *look) missing(s *side, kind verdict) verdict {
	if s.expireAt != 0 && s.expireAt <= l.c.opt.Now().UnixMilli() || s.emptied {
		return verdictExpired
	}
	return kind
}

func (l *look) expiry(a, b int64) verdict {
	if a == 0 || b == 0 {
		return verdict(ExpiryDiffers)
	}
	apart := a - b
	if apart < 0 {
		apart = -apart
	}
	if apart < 0 || apart > l.c.opt.Tolerance.Milliseconds() { // below 0: the difference overflowed
		return verdict(ExpiryDiffers)
	}
	return verdictTolerated
}

// count counts a verdict that is no difference, and says whether it was none.
func (l *look) count(v verdict) bool {
	r := l.c.report
	switch v {
	case verdictSame:
	case verdictExpired:
		r.Expired++
	case verdictTolerated:
		r.Tolerated++
	case verdictSettled:
		r.Settled++
	default:
		return false
	}
	return true
}
