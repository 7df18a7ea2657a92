package transfer

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"holdfast.dev/internal/objects"
)

func TestAStoredFileIsProvedAsItIsRead(t *testing.T) {
	w, s, _, _ := sealedBackup(t)
	object := s.Shards[0].Object
	plain := read(t, w.Snapshots, object)
	readStored := func() ([]byte, error) {
		f, err := FindStored(t.Context(), w.Snapshots, "here", "s", "0001")
		if err != nil {
			return nil, err
		}
		in, err := f.Open(t.Context())
		if err != nil {
			return nil, err
		}
		defer in.Close()
		return io.ReadAll(in)
	}
	if b, err := readStored(); err != nil || !bytes.Equal(b, plain) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for what, b := range map[string][]byte{
		"longer":  append(bytes.Clone(plain), 0),
		"shorter": plain[:len(plain)-1],
		"another": append(bytes.Clone(plain[:len(plain)-1]), plain[len(plain)-1]^1),
		"empty":   nil,
	} {
		put(t, w.Snapshots, object, b)
		got, err := readStored()
		if err == nil || !strings.Contains(err.Error(), "it is not what was stored") {
			t.Errorf("%s: %v", what, err)
		}
		if len(got) == len(plain) {
			t.Errorf("%s: its last bytes were handed out", what)
		}
	}
	if _, err := FindStored(t.Context(), w.Snapshots, "here", "s", "0002"); !errors.Is(err, objects.ErrNotExist) || !strings.Contains(err.Error(), "0002") {
		t.Errorf("a file that there is not: %v", err)
	}
}
