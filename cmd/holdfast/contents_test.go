package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
)

// Values that are read as they come are looked at like others: what the target does
// not hold is found, and what must be sent as one piece is measured.
func TestSurveyOfLargeValues(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 3<<20)
	fields := []rdb.Field{{Name: []byte("f"), Value: []byte("v"), ExpireAt: 4_000_000_000_000}}
	all := []flow.Entry{
		{Key: []byte("string"), Type: rdb.TypeString, Value: rdb.AppendString(nil, long)},
		{Key: []byte("list"), Type: rdb.TypeList, Value: rdb.AppendList(nil, [][]byte{long, long})},
		{Key: []byte("hash"), Type: rdb.TypeHash2, Version: rdb.ValkeyVersion, Value: rdb.AppendHash2(nil, fields)},
	}
	tr, err := rdb.NewTranscoder(rdb.Target{Version: 11})
	if err != nil {
		t.Fatal(err)
	}
	s := &contents{dbs: map[int]bool{}, losses: map[string]*loss{}, modules: map[string]int64{}}
	var size int64
	for _, e := range all {
		size += int64(e.Size())
		e.Version = max(e.Version, 11)
		e.Body, e.Value = bytes.NewReader(e.Value), nil
		if err := s.add(tr, &e); err != nil {
			t.Fatal(err)
		}
	}
	if s.keys != 3 || s.bytes != size || s.largest != 3<<20 {
		t.Errorf("%d keys, %d bytes (%d), largest %d", s.keys, s.bytes, size, s.largest)
	}
	if l := s.losses[string(rdb.LossFieldTTL)]; l == nil || l.keys != 1 || !strings.Contains(l.first.Error(), `"hash"`) {
		t.Errorf("losses %v", s.losses)
	}
	broken := errors.New("broken")
	e := flow.Entry{Key: []byte("k"), Type: rdb.TypeString, Version: 11, Body: iotest.ErrReader(broken)}
	if err := s.add(tr, &e); !errors.Is(err, broken) {
		t.Errorf("a value that cannot be read: %v", err)
	}
}

// inspect counts the bytes of values that are read as they come.
func TestInspectOfLargeValues(t *testing.T) {
	s := newSurvey(&inspectOptions{top: 1, depth: 1}, time.Now())
	e := flow.Entry{Key: []byte("k"), Type: rdb.TypeString, Body: strings.NewReader(strings.Repeat("x", 5000))}
	if err := s.add(&e); err != nil {
		t.Fatal(err)
	}
	if s.All.Bytes != 5001 || s.big[0].Bytes != 5001 {
		t.Errorf("%+v, biggest %+v", s.All, s.big)
	}
}
