package rdb

import (
	"bytes"
	"errors"
	"hash/crc64"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCRC64(t *testing.T) {
	if got := CRC64(0, []byte("123456789")); got != 0xe9c6d914c4b8d9ca {
		t.Errorf("check value %x", got)
	}
	table := crc64.MakeTable(bits.Reverse64(0xad93d23594c935a9))
	rng := rand.NewChaCha8([32]byte{1})
	rapid.Check(t, func(t *rapid.T) {
		// Long ones are summed in another way than short ones, and both ways in parts.
		p := make([]byte, rapid.IntRange(0, 1000).Draw(t, "size"))
		_, _ = rng.Read(p) // never fails
		cut := rapid.IntRange(0, len(p)).Draw(t, "cut")
		want := ^crc64.Update(^uint64(0), table, p)
		if got := CRC64(0, p); got != want {
			t.Fatalf("%x, the standard library says %x", got, want)
		}
		if got := CRC64(CRC64(0, p[:cut]), p[cut:]); got != want {
			t.Fatalf("in two parts %x, want %x", got, want)
		}
		if got := slicedCRC(slicedCRC(0, p[:cut]), p[cut:]); got != want {
			t.Fatalf("by tables %x, want %x", got, want)
		}
	})
}

func TestLZF(t *testing.T) {
	for _, c := range []struct {
		name, packed, plain string
	}{
		{"literals", "\x04hello", "hello"},
		{"short reference", "\x02abc\x20\x02", "abcabc"},
		{"overlapping reference", "\x00x\x20\x00", "xxxx"},
		{"long reference", "\x00x\xe0\x5b\x00", strings.Repeat("x", 101)},
		{"longest reference", "\x00x\xe0\xff\x00", strings.Repeat("x", 265)},
		{"nothing", "", ""},
	} {
		got, err := appendLZF([]byte("kept"), []byte(c.packed), uint64(len(c.plain)))
		if err != nil || string(got) != "kept"+c.plain {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		for _, n := range []int{len(c.plain) - 1, len(c.plain) + 1} {
			if _, err := appendLZF(nil, []byte(c.packed), uint64(n)); !errors.Is(err, errLZF) {
				t.Errorf("%s with length %d: %v", c.name, n, err)
			}
		}
	}
	for name, packed := range map[string]string{
		"literals cut":          "\x04hell",
		"reference cut":         "\x00x\x20",
		"long reference cut":    "\x00x\xe0",
		"reference before data": "\x20\x00",
		"reference too far":     "\x00x\x20\x01",
	} {
		for n := range uint64(20) {
			if _, err := appendLZF([]byte("kept"), []byte(packed), n); !errors.Is(err, errLZF) {
				t.Errorf("%s as %d bytes: %v", name, n, err)
			}
		}
	}
	if got, err := appendLZF(nil, bytes.Repeat([]byte{0}, 10), 1<<40); err == nil || cap(got) > 0 {
		t.Errorf("a lying length: %v, allocated %d", err, cap(got))
	}
}
