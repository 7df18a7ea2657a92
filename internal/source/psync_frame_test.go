package source

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

const testMark = "0123456789abcdef0123456789abcdef01234567"

// pieces hands out what it holds cut at given places.
type pieces struct{ rest [][]byte }

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.rest) > 0 && len(p.rest[0]) == 0 {
		p.rest = p.rest[1:]
	}
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	p.rest[0] = p.rest[0][n:]
	return n, nil
}

// The mark is found wherever the stream is cut, also when newlines or commands follow it.
func TestMarkedSplitAnywhere(t *testing.T) {
	data := "REDIS0011 some data 0123456789abcdef012345 that looks like the mark " + testMark[:39]
	for _, after := range []string{"", "\n", "\n\n\n", "*1\r\n$4\r\nPING\r\n"} {
		wire := []byte(data + "!" + testMark + after)
		for cut := range len(wire) {
			m := newMarked(&pieces{[][]byte{wire[:cut], wire[cut:]}}, testMark)
			got, err := io.ReadAll(m)
			if err != nil || string(got) != data+"!" {
				t.Fatalf("cut at %d, %q after it: %q, %v", cut, after, got, err)
			}
		}
		got, err := io.ReadAll(newMarked(iotest.OneByteReader(bytes.NewReader(wire)), testMark))
		if err != nil || string(got) != data+"!" {
			t.Fatalf("byte by byte: %q, %v", got, err)
		}
	}
}

// A stream that breaks off before the mark's last byte never ends well.
func TestMarkedTruncated(t *testing.T) {
	wire := []byte("data data data" + testMark)
	for n := range len(wire) {
		got, err := io.ReadAll(newMarked(bytes.NewReader(wire[:n]), testMark))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(wire, got) || len(got) > 14 {
			t.Fatalf("%d bytes: %q, %v", n, got, err)
		}
	}
	broken := errors.New("broken")
	m := newMarked(io.MultiReader(strings.NewReader("data"), iotest.ErrReader(broken)), testMark)
	if _, err := io.ReadAll(m); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestMarkedLong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.SampledFrom([]byte(testMark[:4]+"\n")), 0, 2000).Draw(t, "data")
		data = bytes.Repeat(data, rapid.IntRange(1, 400).Draw(t, "times"))
		wire := append(append([]byte(nil), data...), testMark...)
		var cuts [][]byte
		for len(wire) > 0 {
			n := min(rapid.IntRange(1, 300_000).Draw(t, "cut"), len(wire))
			cuts = append(cuts, wire[:n])
			wire = wire[n:]
		}
		got, err := io.ReadAll(iotest.DataErrReader(newMarked(&pieces{cuts}, testMark)))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(data), err)
		}
	})
}

func TestCounted(t *testing.T) {
	got, err := io.ReadAll(&counted{r: strings.NewReader("1234567*1\r\n"), left: 7})
	if err != nil || string(got) != "1234567" {
		t.Errorf("%q, %v", got, err)
	}
	for _, short := range []string{"", "123456"} {
		if got, err := io.ReadAll(&counted{r: strings.NewReader(short), left: 7}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := io.ReadAll(&counted{r: iotest.DataErrReader(strings.NewReader(short)), left: 7}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got, err := io.ReadAll(&counted{r: iotest.DataErrReader(strings.NewReader("1234567")), left: 7}); err != nil || len(got) != 7 {
		t.Errorf("%q, %v", got, err)
	}
}
