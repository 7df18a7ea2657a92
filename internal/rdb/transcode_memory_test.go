package rdb

import (
	"runtime"
	"testing"
)

// TestTranscodeMemory: a large value takes memory in proportion, and later gives it back.
func TestTranscodeMemory(t *testing.T) {
	small := benchValues()
	for name, c := range largeValues() {
		target := Target{Version: 9}
		switch c.typ {
		case TypeHash2:
			target.Version = 12
		case TypeHashTTL:
			target.Version = 80
		}
		tr := newTranscoder(t, target)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := tr.Transcode(c.typ, c.version, c.value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		runtime.ReadMemStats(&after)
		ratio := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(c.value))
		t.Logf("%s: %d MB, %.2f times as much allocated", name, len(c.value)>>20, ratio)
		if ratio > 1.5 {
			t.Errorf("%s: %.2f times its size is allocated", name, ratio)
		}
		next := small["set listpack"]
		tr.target = Target{Version: 9} // whatever it was, something to write anew
		tr.asIs[0][next.typ] = false
		if _, _, err := tr.Transcode(next.typ, next.version, next.value); err != nil {
			t.Fatal(err)
		}
		if kept := cap(tr.out) + cap(tr.blob) + cap(tr.pair) + cap(tr.zip.b) + cap(tr.dec.blob) + cap(tr.dec.scratch); kept > shrinkAbove {
			t.Errorf("%s: %d bytes are kept", name, kept)
		}
	}
}

// largeValues are the large ones of benchValues, twenty times as large.
func largeValues() map[string]sample {
	out := map[string]sample{}
	node := benchValues()["quicklist2"].value[2:] // behind a count of 100
	list := AppendLength(nil, 2000)
	for range 20 {
		list = append(list, node...)
	}
	out["quicklist2"] = sample{TypeQuicklist2, 11, list}
	var fields []Field
	for i := range 200_000 {
		fields = append(fields, Field{Name: appendInt(nil, int64(i)), Value: make([]byte, 60), ExpireAt: 1_900_000_000_000 + int64(i)})
	}
	out["field TTLs to Redis"] = sample{TypeHash2, 80, AppendHash2(nil, fields)}
	out["field TTLs to Valkey"] = sample{TypeHashTTL, 12, AppendHashTTL(nil, fields)}
	var entries []StreamEntry
	for i := range 200_000 {
		entries = append(entries, StreamEntry{ID: StreamID{uint64(i + 1), 0}, Pairs: [][]byte{[]byte("f"), make([]byte, 60)}})
	}
	stream := AppendStream(nil, &Stream{Entries: entries})
	out["stream"] = sample{TypeStream3, 11, append(stream[:len(stream)-1], 0, 0, 0, 0, 0, 0)}
	return out
}
