package rdb

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// A payload in a file is taken apart, or refused, as the same payload in memory is.
func TestOpenDump(t *testing.T) {
	value := AppendString(nil, bytes.Repeat([]byte("abcdefgh"), bufferSize))
	good := AppendDump(nil, TypeString, value, 11)
	damaged := bytes.Clone(good)
	damaged[len(damaged)/2]++
	for name, payload := range map[string][]byte{
		"good": good, "small": AppendDump(nil, TypeSetIntset, nil, 9), "newest": AppendDump(nil, TypeHash2, value, 80),
		"damaged": damaged, "cut": good[:len(good)-1], "short": good[:10], "nothing": nil,
		"unknown version": AppendDump(nil, TypeString, value, 70),
	} {
		want, wantErr := ParseDump(payload)
		got, body, err := OpenDump(bytes.NewReader(payload), int64(len(payload)))
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%s: %v in a file, %v in memory", name, err, wantErr)
			continue
		}
		if err != nil {
			continue
		}
		all, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(all, want.Value) || got.Type != want.Type || got.Version != want.Version {
			t.Errorf("%s: type %d version %d and %d bytes, %v", name, got.Type, got.Version, len(all), err)
		}
	}
}

// A file that is shorter than it was said to be is an error, never a value.
func TestOpenDumpShort(t *testing.T) {
	payload := AppendDump(nil, TypeString, AppendString(nil, make([]byte, 1000)), 11)
	for n := range payload {
		if _, _, err := OpenDump(bytes.NewReader(payload[:n]), int64(len(payload))); err == nil {
			t.Fatalf("%d bytes of %d were taken for a payload", n, len(payload))
		}
	}
	broken := io.NewSectionReader(brokenFile{}, 0, 100)
	if _, _, err := OpenDump(broken, 100); !errors.Is(err, errBrokenFile) {
		t.Errorf("the file's own error became %v", err)
	}
}

type brokenFile struct{}

var errBrokenFile = errors.New("the disk is broken")

func (brokenFile) ReadAt([]byte, int64) (int, error) { return 0, errBrokenFile }

func TestEmptyCollection(t *testing.T) {
	for typ := range 256 {
		none := typ == TypeList || typ == TypeSet || typ == TypeZSet || typ == TypeZSet2 || typ == TypeHash ||
			typ == TypeHash2 || typ == TypeQuicklist || typ == TypeQuicklist2
		if EmptyCollection(byte(typ), []byte{0}) != none {
			t.Errorf("type %d", typ)
		}
		if EmptyCollection(byte(typ), []byte{1}) || EmptyCollection(byte(typ), nil) || EmptyCollection(byte(typ), []byte{0, 0}) {
			t.Errorf("type %d with something in it", typ)
		}
	}
}
