package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
)

// ErrRotten: a stored file is not what its manifest says.
var (
	ErrRotten = errors.New("it is not what was stored")
	errOther  = errors.New("its SHA-256 is another")
)

// Stored is a file of a snapshot, found where it is stored and not in a record.
type Stored struct {
	Object   string
	Manifest cache.Manifest
	store    objects.Store
}

// FindStored finds the file of one node group of a snapshot in a snapshot store.
func FindStored(ctx context.Context, store objects.Store, region, snapshot, nodeGroup string) (*Stored, error) {
	want := path.Join(region, snapshot, nodeGroup+".rdb")
	s := &Stored{store: store}
	for info, err := range store.List(ctx, want) {
		if err != nil {
			return nil, fmt.Errorf("cannot look for the files of snapshot %s: %w", snapshot, err)
		}
		if plain, _, _ := seal.Parse(info.Key); plain == want {
			s.Object = info.Key
		}
	}
	if s.Object == "" {
		return nil, fmt.Errorf("snapshot %s has lost the file of node group %s: %w", snapshot, nodeGroup, objects.ErrNotExist)
	}
	var err error
	s.Manifest, err = readManifest(ctx, store, s.Object)
	return s, err
}

func readManifest(ctx context.Context, store objects.Store, object string) (cache.Manifest, error) {
	var m cache.Manifest
	in, _, err := store.Open(ctx, manifestKey(object), 0)
	if err != nil {
		return m, fmt.Errorf("cannot read the manifest of %s: %w", object, err)
	}
	b, err := io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		return m, fmt.Errorf("cannot read the manifest of %s: %w", object, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("cannot read the manifest of %s: %w: %w", object, err, cache.ErrPermanent)
	}
	return m, nil
}

// Open reads the file. Its last bytes are handed out only if all of it is what the
// manifest says: whoever reads it to its end has proved it.
func (s *Stored) Open(ctx context.Context) (io.ReadCloser, error) {
	in, _, err := s.store.Open(ctx, s.Object, 0)
	if err != nil {
		return nil, err
	}
	return &proved{ReadCloser: in, file: s, sum: sha256.New()}, nil
}

// proved holds what is read against a manifest.
type proved struct {
	io.ReadCloser
	file *Stored
	sum  hash.Hash
	n    int64
	err  error // of an earlier Read; it stays
}

// Read fails where the file ends too early, goes on too long or is another.
func (p *proved) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.ReadCloser.Read(b)
	p.sum.Write(b[:n])
	p.n += int64(n)
	want := &p.file.Manifest
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return n, err
	case p.n < want.Bytes && err != nil:
		err = io.ErrUnexpectedEOF
	case p.n < want.Bytes:
		return n, nil
	case p.n == want.Bytes && hex.EncodeToString(p.sum.Sum(nil)) == want.SHA256:
		return n, err
	default:
		err = errOther
	}
	p.err = fmt.Errorf("%s: %w: after %d of %d bytes: %w", p.file.Object, ErrRotten, p.n, want.Bytes, err)
	return 0, p.err
}
