package objects

import (
	"context"
	"io"
	"iter"
	"time"
)

// Info describes a stored object.
type Info struct {
	// Key is the object's name inside its store: segments joined by "/".
	Key string
	// Size is in bytes.
	Size int64
	// ETag changes whenever the content is replaced. It carries no quotes. For S3 it is
	// the service's own; it is an MD5 only where the service says so.
	ETag string
	// ModTime is when the object was committed, by the clock of the place.
	ModTime time.Time
	// SHA256 is the lower-case hexadecimal digest of the content. Commit always
	// fills it; Stat, List and Open leave it empty.
	SHA256 string
	// Mark is what PutOptions.Mark left on the object. List does not tell it.
	Mark string
}

// PutOptions say how an object is written.
type PutOptions struct {
	// IfAbsent makes the write fail with ErrExist when the key is taken, both
	// early (in Create, to spare the work) and, decisively, in Commit.
	IfAbsent bool
	// Mark is kept with an object in a bucket, so that its writer knows it again. An
	// empty one stands for a mark by chance. Dir keeps none.
	Mark string
	// Note is told of a multipart upload twice, before it is begun and, with its ID,
	// before its first part is sent. Whoever writes it down can end the upload of a
	// writer that died (Abandoner). An error ends the writing. Nil: nobody is told.
	Note func(ctx context.Context, u Upload) error
}

// Upload is a multipart upload to a bucket: bytes that are kept there, seen by nobody,
// until it is completed or ended.
type Upload struct {
	Key string
	ID  string // empty until the service has given one
	At  time.Time
}

// Abandoner is a Store that keeps what dead writers have uploaded.
type Abandoner interface {
	// Abandon ends an upload that a Note was told of. One without an ID is looked for:
	// the uploads of exactly its key that began since and have no part yet. That there
	// is none is no error.
	Abandon(ctx context.Context, u Upload) error
}

// Store is one place that keeps objects.
type Store interface {
	// Create begins an object. The context governs it until Commit or Abort: when
	// it ends, Write and Commit fail and nothing is stored.
	Create(ctx context.Context, key string, opts PutOptions) (Writer, error)
	// Open reads an object from offset (bytes, 0 to size inclusive) to its end. An offset
	// beyond the end is an error.
	Open(ctx context.Context, key string, offset int64) (io.ReadCloser, Info, error)
	// Stat describes one object.
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects whose key begins with prefix, in byte order of keys. After
	// an error it ends.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes an object. A missing one is no error.
	Delete(ctx context.Context, key string) error
}

// Writer receives the content of one object. Exactly one of Commit and Abort takes
// effect; Abort after Commit does nothing, so it may be deferred.
type Writer interface {
	io.Writer
	// Commit makes the object visible. When it fails nothing is stored.
	Commit(ctx context.Context) (Info, error)
	// Abort discards everything written.
	Abort() error
}

// Put stores all of r under key. An error of r leaves nothing behind.
func Put(ctx context.Context, s Store, key string, r io.Reader, opts PutOptions) (Info, error) {
	w, err := s.Create(ctx, key, opts)
	if err != nil {
		return Info{}, err
	}
	if _, err := io.Copy(onlyWriter{w}, r); err != nil {
		return Info{}, joinAbort(err, w)
	}
	return w.Commit(ctx)
}

// onlyWriter hides every other method, so that io.Copy uses its own buffer.
type onlyWriter struct{ io.Writer }
