package source

// liveKeys is a list of keys of one database in one piece of memory.
type liveKeys struct {
	db   int
	buf  []byte
	ends []int
	// text: they are taken for strings; rest: they were, and that left them open.
	text, rest bool
}

func (k *liveKeys) len() int { return len(k.ends) }

func (k *liveKeys) key(i int) []byte {
	from := 0
	if i > 0 {
		from = k.ends[i-1]
	}
	return k.buf[from:k.ends[i]:k.ends[i]]
}

func (k *liveKeys) add(key []byte) {
	k.buf = append(k.buf, key...)
	k.ends = append(k.ends, len(k.buf))
}

func (k *liveKeys) addString(key string) {
	k.buf = append(k.buf, key...)
	k.ends = append(k.ends, len(k.buf))
}
