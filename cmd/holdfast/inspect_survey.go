package main

import (
	"bytes"
	"cmp"
	"container/heap"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// tally counts keys and their serialized bytes.
type tally struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"`
}

func (t *tally) add(size int) {
	t.Keys++
	t.Bytes += int64(size)
}

// maxPrefixes is how many prefixes are counted at once. When twice as many have
// been met, the smaller half is put together; a prefix of weight comes back at once.
const maxPrefixes = 5000

// ttlBounds are the classes of time left that are counted.
var ttlBounds = []struct {
	name string
	less time.Duration
}{
	{"expired", 0},
	{"under 1 minute", time.Minute},
	{"under 1 hour", time.Hour},
	{"under 1 day", 24 * time.Hour},
	{"under 7 days", 7 * 24 * time.Hour},
	{"under 30 days", 30 * 24 * time.Hour},
}

const ttlLonger, ttlNever = "30 days or more", "never"

// survey counts entries in one pass and in bounded memory.
type survey struct {
	All    tally
	opt    *inspectOptions
	now    int64
	types  [rdb.Classes]tally
	dbs    map[int]*tally
	ttls   []tally // by ttlBounds, then longer, then never
	prefix map[string]*tally
	merged tally
	lossy  bool
	big    bigKeys
}

func newSurvey(o *inspectOptions, now time.Time) *survey {
	return &survey{opt: o, now: now.UnixMilli(), dbs: map[int]*tally{}, ttls: make([]tally, len(ttlBounds)+2), prefix: map[string]*tally{}}
}

func (s *survey) add(e *flow.Entry) error {
	size := e.Size()
	if e.Body != nil {
		n, err := io.Copy(io.Discard, e.Body)
		if err != nil {
			return err
		}
		size += int(n)
	}
	s.All.add(size)
	s.types[rdb.ClassOf(e.Type)].add(size)
	db := s.dbs[e.DB]
	if db == nil {
		db = &tally{}
		s.dbs[e.DB] = db
	}
	db.add(size)
	s.ttls[s.ttlClass(e)].add(size)
	s.addPrefix(e.Key, size)
	s.addBig(e, size)
	return nil
}

func (s *survey) ttlClass(e *flow.Entry) int {
	if !e.HasExpiry() {
		return len(ttlBounds) + 1
	}
	left := e.ExpireAt - s.now
	for i, b := range ttlBounds {
		if left < b.less.Milliseconds() || i == 0 && left <= 0 {
			return i
		}
	}
	return len(ttlBounds)
}

// prefixOf is the key up to its depth-th colon, or to its last one where it has fewer.
func prefixOf(key []byte, depth int) []byte {
	n := 0
	for range depth {
		i := bytes.IndexByte(key[n:], ':')
		if i < 0 {
			break
		}
		n += i + 1
	}
	return key[:n]
}

func (s *survey) addPrefix(key []byte, size int) {
	if s.opt.depth == 0 {
		return
	}
	p := prefixOf(key, s.opt.depth)
	t := s.prefix[string(p)]
	if t == nil {
		if len(s.prefix) >= 2*maxPrefixes {
			s.mergePrefixes()
		}
		t = &tally{}
		s.prefix[string(p)] = t
	}
	t.add(size)
}

// mergePrefixes keeps the prefixes of most bytes.
func (s *survey) mergePrefixes() {
	s.lossy = true
	for _, name := range s.prefixesBySize()[maxPrefixes:] {
		t := s.prefix[name]
		s.merged.Keys += t.Keys
		s.merged.Bytes += t.Bytes
		delete(s.prefix, name)
	}
}

func (s *survey) prefixesBySize() []string {
	return slices.SortedFunc(maps.Keys(s.prefix), func(a, b string) int {
		if c := cmp.Compare(s.prefix[b].Bytes, s.prefix[a].Bytes); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
}

// bigKey is one of the biggest keys.
type bigKey struct {
	DB    int    `json:"db"`
	Key   string `json:"key"`
	Type  string `json:"type"`
	Bytes int64  `json:"bytes"`
}

// bigKeys is a heap with the smallest on top.
type bigKeys []bigKey

func (b bigKeys) Len() int           { return len(b) }
func (b bigKeys) Less(i, j int) bool { return b[i].Bytes < b[j].Bytes }
func (b bigKeys) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *bigKeys) Push(x any)        { *b = append(*b, x.(bigKey)) }
func (b *bigKeys) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}

func (s *survey) addBig(e *flow.Entry, size int) {
	if len(s.big) == s.opt.top {
		if s.opt.top == 0 || s.big[0].Bytes >= int64(size) {
			return
		}
		heap.Pop(&s.big)
	}
	heap.Push(&s.big, bigKey{DB: e.DB, Key: string(e.Key), Type: rdb.ClassOf(e.Type).String(), Bytes: int64(size)})
}
