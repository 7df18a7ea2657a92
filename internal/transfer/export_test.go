package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/testkit"
)

// marked keeps marks and uploads, as a bucket does and a directory does not.
type marked struct {
	objects.Store
	mu      sync.Mutex
	marks   map[string]string
	uploads map[string]bool
	begun   int
	// dies makes a writer vanish after its upload has begun, as with its process.
	dies bool
}

var errDied = errors.New("the process died")

func (m *marked) Create(ctx context.Context, key string, opts objects.PutOptions) (objects.Writer, error) {
	w, err := m.Store.Create(ctx, key, opts)
	if err != nil {
		return nil, err
	}
	if err := opts.Note(ctx, objects.Upload{Key: key}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun++
	id := fmt.Sprintf("upload %d of %s", m.begun, key)
	m.uploads[id] = true
	return &markedWriter{w, m, key, opts.Mark, id}, opts.Note(ctx, objects.Upload{Key: key, ID: id})
}

func (m *marked) Stat(ctx context.Context, key string) (objects.Info, error) {
	info, err := m.Store.Stat(ctx, key)
	m.mu.Lock()
	defer m.mu.Unlock()
	info.Mark = m.marks[key]
	return info, err
}

func (m *marked) Abandon(_ context.Context, u objects.Upload) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.uploads, u.ID)
	return nil
}

type markedWriter struct {
	objects.Writer
	in            *marked
	key, mark, id string
}

func (w *markedWriter) Commit(ctx context.Context) (objects.Info, error) {
	if w.in.dies {
		return objects.Info{}, errDied
	}
	info, err := w.Writer.Commit(ctx)
	if err == nil {
		w.in.mu.Lock()
		defer w.in.mu.Unlock()
		w.in.marks[w.key] = w.mark
		delete(w.in.uploads, w.id)
	}
	return info, err
}

func (w *markedWriter) Abort() error {
	if w.in.dies {
		return errors.Join(errDied, w.Writer.Abort())
	}
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	delete(w.in.uploads, w.id)
	return w.Writer.Abort()
}

type markedBuckets struct {
	objects.Buckets
	bucket *marked
}

func (b markedBuckets) Open(context.Context, string, string) (objects.Store, error) {
	return b.bucket, nil
}

// twoShards is a world with a bucket that keeps marks, and a snapshot of two files.
func twoShards(t *testing.T) (*world, *marked, cache.Snapshot) {
	t.Helper()
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	b := &marked{Store: w.bucket, marks: map[string]string{}, uploads: map[string]bool{}}
	w.Buckets = markedBuckets{w.Buckets, b}
	s := w.backup(t)
	put(t, w.Snapshots, "here/s/0002.rdb", read(t, w.Snapshots, s.Shards[0].Object))
	s.Shards = append(s.Shards, cache.ShardSnapshot{NodeGroupID: "0002", Object: "here/s/0002.rdb", Manifest: s.Shards[0].Manifest})
	return w, b, s
}

func (w *world) there(t *testing.T) (keys []string) {
	t.Helper()
	for info, err := range w.bucket.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func TestAnExportOfSeveralFilesIsAllOrNothing(t *testing.T) {
	w, b, s := twoShards(t)
	e := cache.Export{TargetName: "e", Bucket: "b", StartedAt: time.Now()}
	put(t, w.bucket, "e-0002.rdb", []byte("not to be lost"))
	err := w.Export(t.Context(), s, e)
	if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "already contains an object with key e-0002.rdb") {
		t.Fatalf("the second file stands in the way of another: %v", err)
	}
	if left := w.there(t); len(left) != 1 || left[0] != "e-0002.rdb" || string(read(t, w.bucket, "e-0002.rdb")) != "not to be lost" {
		t.Errorf("afterwards there are %v", left)
	}
	if err := w.bucket.Delete(t.Context(), "e-0002.rdb"); err != nil {
		t.Fatal(err)
	}
	if err := w.Export(t.Context(), s, e); err != nil {
		t.Fatal(err)
	}
	// Run again as after a crash before it was written down; then given up.
	if err := w.Export(t.Context(), s, e); err != nil {
		t.Errorf("what is there is not known for its own work: %v", err)
	}
	other := e
	other.StartedAt = e.StartedAt.Add(1)
	if err := w.Retract(t.Context(), s, other); err != nil || len(w.there(t)) != 2 {
		t.Errorf("another export has taken back what is not its own: %v, there are %v", err, w.there(t))
	}
	if err := w.Retract(t.Context(), s, e); err != nil || len(w.there(t)) != 0 || len(b.uploads) != 0 {
		t.Errorf("taking back: %v, there are %v", err, w.there(t))
	}
}

func TestAnUploadThatWasCutShortIsEnded(t *testing.T) {
	w, b, s := twoShards(t)
	e := cache.Export{TargetName: "e", Bucket: "b", StartedAt: time.Now()}
	b.dies = true
	b.uploads["of somebody else"] = true
	if err := w.Export(t.Context(), s, e); !errors.Is(err, errDied) {
		t.Fatal(err)
	}
	if len(b.uploads) != 2 {
		t.Fatalf("the uploads are %v", b.uploads)
	}
	b.dies = false
	for range 2 { // once to do it, once to find it done
		if err := w.Export(t.Context(), s, e); err != nil {
			t.Fatal(err)
		}
		if len(b.uploads) != 1 || !b.uploads["of somebody else"] {
			t.Errorf("the uploads are %v", b.uploads)
		}
	}
	for info := range w.Snapshots.List(t.Context(), "here/s/upload") {
		t.Errorf("the note %s is left", info.Key)
	}
	b.dies = true
	e.TargetName = "f"
	if err := w.Export(t.Context(), s, e); !errors.Is(err, errDied) {
		t.Fatal(err)
	}
	if err := w.Retract(t.Context(), s, e); err != nil || len(b.uploads) != 1 {
		t.Errorf("taking back: %v, the uploads are %v", err, b.uploads)
	}
}

func (b dirBuckets) Access(context.Context, string, string, string) (objects.Access, error) {
	return objects.Access{}, errors.New("a directory grants nothing")
}
