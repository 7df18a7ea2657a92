package discovery

import (
	"bytes"
	"strconv"
)

// legacyKey is what clients of engines before 1.4.14 get in the place of `config get cluster`.
const legacyKey = "AmazonElastiCache:cluster"

// Longest lines. memcached takes no longer one of a request, but for a get of
// many keys; those, and whatever else is longer, are passed on unread.
const (
	longestLine = 2048
	bufferSize  = 16 << 10
)

// textRequests finds the requests in what a client sends in the text protocol.
type textRequests struct {
	// skip are the bytes of a data block, its CRLF included, that are still to
	// come; inLine tells that a long line has not ended.
	skip   int64
	inLine bool
}

// next looks at what stands at the beginning of b: n bytes of it are to be passed on, unless
// what says that they are a whole request that is ours. n is 0 if more has
// to come before anything can be said.
func (t *textRequests) next(b []byte) (n int, what request) {
	switch {
	case t.skip > 0:
		n = int(min(t.skip, int64(len(b))))
		t.skip -= int64(n)
		return n, request{}
	case t.inLine:
		end := bytes.IndexByte(b, '\n')
		t.inLine = end < 0
		if end < 0 {
			end = len(b) - 1
		}
		return end + 1, request{}
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		t.inLine = len(b) >= longestLine
		if t.inLine {
			n = len(b)
		}
		return n, request{}
	}
	what, t.skip = readLine(bytes.TrimSuffix(b[:end], []byte("\r")))
	return end + 1, what
}

// readLine says what a line asks for, and how many bytes of data follow it.
func readLine(line []byte) (what request, data int64) {
	if len(line) > longestLine {
		return request{}, 0
	}
	word, rest := cutWord(line)
	switch string(word) {
	case "set", "add", "replace", "append", "prepend", "cas":
		return request{}, dataAt(rest, 3)
	case "ms":
		return request{}, dataAt(rest, 1)
	case "version":
		return request{kind: versionAsked}, 0
	case "config":
		return request{kind: ours, reply: configLine(rest)}, 0
	case "get":
		if key, more := cutWord(rest); string(key) == legacyKey && len(bytes.TrimSpace(more)) == 0 {
			return request{kind: ours, reply: legacyText}, 0
		}
	}
	return request{}, 0
}

// configLine is how a config command is answered.
func configLine(rest []byte) reply {
	verb, rest := cutWord(rest)
	name, rest := cutWord(rest)
	switch {
	case string(verb) != "get" || len(name) == 0 || len(bytes.TrimSpace(rest)) > 0:
		return refusedText
	case string(name) != "cluster":
		return emptyText
	}
	return configText
}

// dataAt is the length of the data block, CRLF included, that the nth word tells; 0
// if it tells none.
func dataAt(rest []byte, n int) int64 {
	var word []byte
	for range n + 1 {
		word, rest = cutWord(rest)
	}
	// The first meta set wrote the length as a flag.
	word = bytes.TrimPrefix(word, []byte("S"))
	size, err := strconv.ParseInt(string(word), 10, 32)
	if err != nil || size < 0 {
		return 0
	}
	return size + 2
}

func cutWord(line []byte) (word, rest []byte) {
	line = bytes.TrimLeft(line, " ")
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		return line[:i], line[i+1:]
	}
	return line, nil
}

// textReplies finds the answers to version in what memcached sends.
type textReplies struct {
	skip   int64
	inLine bool
}

// next looks at the beginning of b: n bytes that belong together, and whether they are an
// answer to version; n is 0 if more has to come.
func (t *textReplies) next(b []byte) (n int, marked bool) {
	switch {
	case t.skip > 0:
		n = int(min(t.skip, int64(len(b))))
		t.skip -= int64(n)
		return n, false
	case t.inLine:
		end := bytes.IndexByte(b, '\n')
		t.inLine = end < 0
		if end < 0 {
			end = len(b) - 1
		}
		return end + 1, false
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		t.inLine = len(b) >= longestLine
		if t.inLine {
			n = len(b)
		}
		return n, false
	}
	line := b[:end]
	switch {
	case bytes.HasPrefix(line, []byte("VALUE ")):
		t.skip = dataAt(bytes.TrimSuffix(line[len("VALUE "):], []byte("\r")), 2)
	case bytes.HasPrefix(line, []byte("VA ")):
		t.skip = dataAt(bytes.TrimSuffix(line[len("VA "):], []byte("\r")), 0)
	case bytes.HasPrefix(line, []byte("VERSION ")):
		return end + 1, true
	}
	return end + 1, false
}
