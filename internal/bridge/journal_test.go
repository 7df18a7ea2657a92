package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// fillJournal appends so many pieces and returns all of the stream.
func fillJournal(t *testing.T, j *journal, n int) []byte {
	t.Helper()
	var all []byte
	for i := range n {
		out := fmt.Appendf(nil, "piece %d of the stream\r\n", i)
		m := mark{ReplID: "id", A: int64(i), Up: i % 3, Down: 1}
		if i%2 == 0 {
			m.Dirty = []keyID{{i, fmt.Sprintf("key\xff%d", i)}}
		} else {
			m.Clean = []keyID{{i - 1, fmt.Sprintf("key\xff%d", i-1)}}
		}
		if err := j.append(out, m); err != nil {
			t.Fatal(err)
		}
		all = append(all, out...)
	}
	return all
}

func readAll(t *testing.T, j *journal, from int64) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 37)
	for {
		n, more, err := j.read(buf, from)
		if err != nil {
			t.Fatal(err)
		}
		if more != nil {
			return all
		}
		all, from = append(all, buf[:n]...), from+int64(n)
	}
}

// What was appended is read back, by the same journal and by one that opens its files,
// wherever the end was torn off: then up to the last mark that is whole.
func TestJournal(t *testing.T) {
	for _, torn := range []struct{ data, index int64 }{{0, 0}, {1, 0}, {30, 0}, {0, 1}, {0, 60}, {5, 5}} {
		dir := t.TempDir()
		j, err := newJournal(dir, 100, 1<<20, mark{ReplID: "id", B: 1000, Up: -1, Down: -1})
		if err != nil {
			t.Fatal(err)
		}
		all := fillJournal(t, j, 41)
		if got := readAll(t, j, 1000); !bytes.Equal(got, all) {
			t.Fatalf("%d bytes read, %d written", len(got), len(all))
		}
		if err := errors.Join(j.trim(1300), j.close()); err != nil {
			t.Fatal(err)
		}
		for suffix, n := range map[string]int64{dataSuffix: torn.data, indexSuffix: torn.index} {
			cutFile(t, dir, suffix, n)
		}
		j, err = openJournal(dir, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		end, base := j.end(), j.base()
		if base <= 1000 || base > 1300 || torn.data+torn.index == 0 && end != 1000+int64(len(all)) || torn.data+torn.index > 0 && end >= 1000+int64(len(all)) {
			t.Errorf("torn %v: it holds %d to %d", torn, base, end)
		}
		if got := readAll(t, j, base); !bytes.Equal(got, all[base-1000:end-1000]) {
			t.Errorf("torn %v: other bytes", torn)
		}
		last := j.mark()
		if want := []keyID{{int(last.A), fmt.Sprintf("key\xff%d", last.A)}}; last.A%2 == 0 && !slices.Equal(j.waiting(), want) || last.A%2 == 1 && len(j.waiting()) > 0 {
			t.Errorf("torn %v: %v wait at %d", torn, j.waiting(), last.A)
		}
		if err := j.append([]byte("more"), mark{}); err != nil || j.end() != end+4 {
			t.Errorf("it cannot go on: %v", err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// cutFile takes bytes off the end of the last file of a kind.
func cutFile(t *testing.T, dir, suffix string, n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	last := files[len(files)-1]
	info, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last, max(info.Size()-n, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestJournalLimit(t *testing.T) {
	j, err := newJournal(t.TempDir(), 100, 500, mark{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.close() }()
	for err == nil {
		err = j.append(make([]byte, 50), mark{})
	}
	if !errors.Is(err, errFull) || j.bytes() != 500 {
		t.Errorf("%v at %d bytes", err, j.bytes())
	}
	if err := errors.Join(j.trim(300), j.append(make([]byte, 50), mark{})); err != nil {
		t.Error(err)
	}
	if _, _, err := j.read(make([]byte, 1), 0); err == nil {
		t.Error("it reads what was let go of")
	}
}

// However a stream is cut into pieces, the same commands come out, and nothing makes
// frame panic or go beyond what it was given.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"))
	f.Add([]byte("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"))
	f.Add([]byte("*-1\r\n"))
	f.Add([]byte("*1\r\n$99999999999\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		args, n, err := frame(b, nil)
		if err != nil || n == 0 {
			return
		}
		if n > len(b) || len(args) == 0 {
			t.Fatalf("%d of %d bytes, %d arguments", n, len(b), len(args))
		}
		for cut := range n {
			if _, m, err := frame(b[:cut], nil); m != 0 || err != nil {
				t.Fatalf("cut at %d of %d: %d, %v", cut, n, m, err)
			}
		}
	})
}
