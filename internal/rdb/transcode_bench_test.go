package rdb

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// benchValues are values that an old or other target does not read as they are.
func benchValues() map[string]sample {
	pack := func(n int, element func(i int) []byte) []byte {
		var body []byte
		for i := range n {
			body = appendPackString(body, element(i))
		}
		b := binary.LittleEndian.AppendUint32(nil, uint32(listpackHeader+len(body)+1))
		b = binary.LittleEndian.AppendUint16(b, uint16(min(n, uncounted)))
		return AppendString(nil, append(append(b, body...), packEnd))
	}
	text := func(i int) []byte { return fmt.Appendf(nil, "element:%08d", i) }
	list := AppendLength(nil, 100)
	for range 100 {
		list = append(append(list, nodePacked), pack(300, text)...)
	}
	var fields []Field
	for i := range 1000 {
		fields = append(fields, Field{Name: text(i), Value: text(-i), ExpireAt: int64(i%3) * 1_900_000_000_000})
	}
	var entries []StreamEntry
	for i := range 10_000 {
		entries = append(entries, StreamEntry{ID: StreamID{uint64(i + 1), 0}, Pairs: [][]byte{[]byte("f"), text(i), []byte("g"), text(-i)}})
	}
	stream := AppendStream(nil, &Stream{Entries: entries})
	// The same as a newer form: five numbers more before the groups, of which there are none.
	stream = append(stream[:len(stream)-1], 0, 0, 0, 0, 0, 0)
	return map[string]sample{
		"hash listpack":    {TypeHashListpack, 11, pack(20, text)},
		"zset listpack":    {TypeZSetListpack, 11, pack(20, func(i int) []byte { return appendInt(nil, int64(i)) })},
		"set listpack":     {TypeSetListpack, 11, pack(10, text)},
		"quicklist2":       {TypeQuicklist2, 11, list},
		"field TTLs 22→24": {TypeHash2, 80, AppendHash2(nil, fields)},
		"field TTLs 24→22": {TypeHashTTL, 12, AppendHashTTL(nil, fields)},
		"stream 21→15":     {TypeStream3, 11, stream},
	}
}

func BenchmarkTranscode(b *testing.B) {
	b.Run("untouched", func(b *testing.B) {
		value := AppendString(nil, make([]byte, 100))
		tr := newTranscoder(b, Target{Version: 9})
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := tr.Transcode(TypeString, 80, value); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, s := range benchValues() {
		b.Run(name, func(b *testing.B) {
			target := Target{Version: 9}
			switch s.typ {
			case TypeHash2:
				target.Version = 12
			case TypeHashTTL:
				target.Version = 80
			}
			tr := newTranscoder(b, target)
			b.SetBytes(int64(len(s.value)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := tr.Transcode(s.typ, s.version, s.value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTargetWriter shows what the question costs for each entry that passes.
func BenchmarkTargetWriter(b *testing.B) {
	value := AppendString(nil, make([]byte, 100))
	e := Entry{Key: []byte("key:000000000001"), Version: 80, Value: value, Idle: -1, Freq: -1}
	for _, name := range []string{"plain", "target"} {
		b.Run(name, func(b *testing.B) {
			w, err := NewWriter(discard{}, HeaderOf(9))
			if name == "target" {
				w, err = NewTargetWriter(discard{}, Target{Version: 9})
			}
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(&e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
