package memcache

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func file(t testing.TB, items []Item) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewFileWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		if err := w.Write(&items[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readBack reads a file as far as it goes.
func readBack(b []byte) (map[string]Item, error) {
	out := map[string]Item{}
	for i, err := range ReadFile(bytes.NewReader(b)) {
		if err != nil {
			return out, err
		}
		k := *i
		k.Key, k.Value = bytes.Clone(i.Key), bytes.Clone(i.Value)
		out[string(k.Key)] = k
	}
	return out, nil
}

func TestFile(t *testing.T) {
	want := sample()[:2000]
	want[3].CAS = 1<<64 - 1
	got, err := readBack(file(t, want))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, want, got)
	if got["late"].CAS != 1<<64-1 || !got["late"].ExpireAt.Equal(want[3].ExpireAt) {
		t.Errorf("it comes back as %+v", got["late"])
	}
	if got, err := readBack(file(t, nil)); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
}

// TestDamagedFile: cut anywhere, or with any byte changed, a file is not taken for whole.
func TestDamagedFile(t *testing.T) {
	good := file(t, sample()[:7])
	for n := range good {
		if _, err := readBack(good[:n]); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "at byte ") {
			t.Fatalf("cut at %d of %d: %v", n, len(good), err)
		}
		bad := bytes.Clone(good)
		bad[n] ^= 0x41
		if _, err := readBack(bad); !errors.Is(err, ErrFile) {
			t.Fatalf("with byte %d of %d changed: %v", n, len(good), err)
		}
	}
	if _, err := readBack(append(bytes.Clone(good), 0)); !errors.Is(err, ErrFile) {
		t.Errorf("with more behind it: %v", err)
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add(file(f, sample()[:5]))
	f.Add([]byte(magic + "\x01\x01a\x00\x00\x00\xff\xff\xff\xff\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := readBack(b)
		if err == nil && len(b) < len(magic)+10 {
			t.Errorf("%d bytes are a file of %v", len(b), items)
		}
	})
}
