package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
)

func TestAProofReadsWhatIsStored(t *testing.T) {
	w, s, stored, _ := sealedBackup(t)
	if err := w.Prove(t.Context(), s); err != nil {
		t.Errorf("it is whole: %v", err)
	}
	manifest := read(t, w.Snapshots, "here/s/0001.json")
	for _, wrong := range [][]byte{[]byte("{}"), []byte("no JSON")} {
		put(t, w.Snapshots, "here/s/0001.json", wrong)
		if err := w.Prove(t.Context(), s); err != nil {
			t.Errorf("the manifest beside is %s: %v", wrong, err)
		}
		if got := read(t, w.Snapshots, "here/s/0001.json"); !bytes.Equal(got, manifest) {
			t.Errorf("the manifest is now %s", got)
		}
	}
	object := s.Shards[0].Object
	whole := read(t, stored, object)
	for what, b := range map[string][]byte{
		"a bit":  append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1),
		"an end": whole[:len(whole)-70_000],
	} {
		put(t, stored, object, b)
		if err := w.Prove(t.Context(), s); !errors.Is(err, cache.ErrPermanent) {
			t.Errorf("without %s: %v", what, err)
		}
	}
	// Another file, as whole as the first.
	put(t, w.Snapshots, object, append([]byte("REDIS0011"), whole...))
	if err := w.Prove(t.Context(), s); !errors.Is(err, cache.ErrPermanent) || !errors.Is(err, ErrRotten) {
		t.Errorf("another file: %v", err)
	}
	if err := stored.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if err := w.Prove(t.Context(), s); !errors.Is(err, cache.ErrPermanent) {
		t.Errorf("no file: %v", err)
	}
	put(t, stored, object, whole)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Prove(ended, s); err == nil || errors.Is(err, cache.ErrPermanent) {
		t.Errorf("broken off: %v", err)
	}
}

// TestAFileThatCannotBeReadProvesNothing: neither that it is damaged nor that it is gone.
func TestAFileThatCannotBeReadProvesNothing(t *testing.T) {
	w, s, stored, keys := sealedBackup(t)
	root := filepath.Join(w.dir, "store")
	there, err := objects.Dir(root)
	if err != nil {
		t.Fatal(err)
	}
	object := s.Shards[0].Object
	put(t, there, object, read(t, stored, object))
	put(t, there, "here/other/0001.rdb", []byte("x"))
	w.Snapshots = seal.New(there, seal.NewKeyring(keys))
	path := filepath.Join(root, filepath.FromSlash(object))
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	try := func(what string, permanent bool) {
		t.Helper()
		if err := w.Prove(t.Context(), s); err == nil || errors.Is(err, cache.ErrPermanent) != permanent {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.Prove(t.Context(), s); err != nil {
		t.Fatalf("it is whole: %v", err)
	}
	move(keys, keys+".away")
	try("the keys are away", false)
	move(keys+".away", keys)
	move(root, root+".away")
	try("the store is away", false)
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	try("the store is not mounted", false)
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	move(root+".away", root)
	w.Snapshots = seal.New(failing{there, objects.ErrAccessDenied, nil}, seal.NewKeyring(keys))
	try("it may not be opened", false)
	w.Snapshots = seal.New(failing{there, nil, syscall.EIO}, seal.NewKeyring(keys))
	try("the disk fails", false)
	w.Snapshots = seal.New(there, seal.NewKeyring(keys))
	move(path, path+".away")
	try("the file is gone from a store that is there", true)
	move(path+".away", path)
	if err := w.Prove(t.Context(), s); err != nil {
		t.Errorf("it is whole again: %v", err)
	}
}

// failing opens no object, or none that can be read beyond its first bytes.
type failing struct {
	objects.Store
	open, read error
}

func (f failing) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, objects.Info, error) {
	if f.open != nil {
		return nil, objects.Info{}, f.open
	}
	in, info, err := f.Store.Open(ctx, key, offset)
	return &broken{ReadCloser: in, left: 5000, err: f.read}, info, err
}

type broken struct {
	io.ReadCloser
	left int
	err  error
}

func (b *broken) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
