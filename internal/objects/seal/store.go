package seal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"

	"filippo.io/age"

	"holdfast.dev/internal/objects"
)

const suffix = ".age"

// Object is the key under which a Store seals an object with a named key.
func Object(object, name string) string { return object + "." + fileName(name) + suffix }

// Parse splits what Object made: the plain object and the name of the key.
func Parse(object string) (plain, name string, sealed bool) {
	plain, file, sealed := parse(object)
	return plain, readable(file), sealed
}

func parse(object string) (plain, file string, sealed bool) {
	rest, ok := strings.CutSuffix(object, suffix)
	if dot := strings.LastIndexByte(rest, '.'); ok && dot > strings.LastIndexByte(rest, '/')+1 {
		return rest[:dot], rest[dot+1:], true
	}
	return object, "", false
}

// region is the first part of an object's key: its keys are those of that region.
func region(object string) string {
	r, _, _ := strings.Cut(object, "/")
	return r
}

// Store seals what goes to another store.
type Store struct {
	objects.Store
	keys *Keyring
}

// New puts a sealing store before another one.
func New(inner objects.Store, keys *Keyring) *Store { return &Store{inner, keys} }

// Open implements objects.Store.
func (s *Store) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, objects.Info, error) {
	_, file, sealed := parse(key)
	if !sealed {
		return s.Store.Open(ctx, key, offset)
	}
	in, info, err := s.Store.Open(ctx, key, 0)
	if err != nil {
		return nil, info, err
	}
	r, err := s.unseal(in, key, file, offset)
	if err != nil {
		return nil, info, errors.Join(fmt.Errorf("cannot open object %s: %w", key, err), in.Close())
	}
	info.Size = plainSize(info.Size)
	return r, info, nil
}

func (s *Store) unseal(in io.ReadCloser, key, file string, offset int64) (io.ReadCloser, error) {
	id, err := s.keys.identity(region(key), file)
	if err != nil {
		return nil, err
	}
	raw := &watched{in: in}
	plain, err := age.Decrypt(raw, id)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("%w: the key named %s of region %s does not open it", ErrWrongKey, readable(file), region(key))
	case err != nil:
		return nil, raw.blame(err)
	}
	r := &unsealed{Closer: in, raw: raw, plain: plain, key: key}
	if offset > 0 {
		if _, err := io.CopyN(io.Discard, r, offset); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// watched remembers the failures of what it reads, to tell them from damage.
type watched struct {
	in  io.Reader
	err error
}

// Read passes on.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// blame says what an error of decryption comes from.
func (w *watched) blame(err error) error {
	if w.err != nil {
		return w.err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// unsealed is an object's content.
type unsealed struct {
	io.Closer
	raw   *watched
	plain io.Reader
	key   string
}

// Read returns what has been authenticated.
func (u *unsealed) Read(p []byte) (int, error) {
	n, err := u.plain.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("cannot read object %s: %w", u.key, u.raw.blame(err))
	}
	return n, err
}

// What the format adds: a header with one stanza, a nonce, and a tag for each chunk.
const (
	headerBytes = 184
	chunkBytes  = 64 << 10
	tagBytes    = 16
)

// plainSize is how much content there is in a sealed object of that size.
func plainSize(stored int64) int64 {
	payload := stored - headerBytes
	if payload < tagBytes {
		return 0
	}
	chunks := (payload + chunkBytes + tagBytes - 1) / (chunkBytes + tagBytes)
	return payload - chunks*tagBytes
}

// Stat implements objects.Store.
func (s *Store) Stat(ctx context.Context, key string) (objects.Info, error) {
	info, err := s.Store.Stat(ctx, key)
	return sized(info), err
}

// List implements objects.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix) {
			if !yield(sized(info), err) {
				return
			}
		}
	}
}

func sized(info objects.Info) objects.Info {
	if _, _, sealed := parse(info.Key); sealed {
		info.Size = plainSize(info.Size)
	}
	return info
}

// Create implements objects.Store.
func (s *Store) Create(ctx context.Context, key string, opts objects.PutOptions) (objects.Writer, error) {
	_, file, sealed := parse(key)
	if !sealed {
		return s.Store.Create(ctx, key, opts)
	}
	if err := s.notLost(ctx, region(key), file); err != nil {
		return nil, fmt.Errorf("cannot create object %s: %w", key, err)
	}
	to, err := s.keys.recipient(region(key), file)
	if err != nil {
		return nil, fmt.Errorf("cannot create object %s: %w", key, err)
	}
	w, err := s.Store.Create(ctx, key, opts)
	if err != nil {
		return nil, err
	}
	in, err := age.Encrypt(w, to)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot create object %s: %w", key, err), w.Abort())
	}
	return &writer{Writer: w, in: in, sum: sha256.New()}, nil
}

// writer seals what is written.
type writer struct {
	objects.Writer
	in   io.WriteCloser
	sum  hash.Hash
	size int64
}

// Write implements objects.Writer.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.in.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	return n, err
}

// Commit implements objects.Writer.
func (w *writer) Commit(ctx context.Context) (objects.Info, error) {
	if err := w.in.Close(); err != nil {
		return objects.Info{}, errors.Join(err, w.Abort())
	}
	info, err := w.Writer.Commit(ctx)
	info.Size, info.SHA256 = w.size, hex.EncodeToString(w.sum.Sum(nil))
	return info, err
}

// notLost refuses to draw a key anew while there are objects that only the one of
// that name before could open: whoever finds a key in its place would not look for it.
func (s *Store) notLost(ctx context.Context, region, file string) error {
	_, missing := s.keys.identity(region, file)
	if !errors.Is(missing, ErrNoKey) {
		return nil // what else is wrong with it shows when it is used
	}
	for info, err := range s.Store.List(ctx, region+"/") {
		if err != nil {
			return fmt.Errorf("cannot look for what the key %s of region %s has sealed: %w", readable(file), region, err)
		}
		if _, by, sealed := parse(info.Key); sealed && by == file {
			return fmt.Errorf("%w, or delete %s and whatever else was", missing, info.Key)
		}
	}
	return nil
}
