package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/rdb"
)

// seedFile is one of the files that a seed is made of.
type seedFile struct {
	name string
	// size in bytes; 0 when it is not known.
	size int64
	// manifest is what the file must hold; nil for one that nobody has described.
	manifest *cache.Manifest
	open     func(ctx context.Context) (io.ReadCloser, error)

	// header and functions are what look found.
	header    rdb.Header
	functions []rdb.FunctionLibrary
}

// seedFiles are those of the snapshot or the objects that the job names.
func (m *Mover) seedFiles(ctx context.Context, job cache.SeedJob) ([]seedFile, error) {
	if job.From != nil {
		return m.snapshotFiles(job.From), nil
	}
	out := make([]seedFile, 0, len(job.ObjectARNs))
	for _, arn := range job.ObjectARNs {
		f, err := m.objectFile(ctx, job.Region, arn)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func (m *Mover) snapshotFiles(s *cache.Snapshot) []seedFile {
	out := make([]seedFile, 0, len(s.Shards))
	for _, shard := range s.Shards {
		f := seedFile{name: "snapshot " + s.Name, manifest: shard.Manifest}
		if len(s.Shards) > 1 {
			f.name += " node group " + shard.NodeGroupID
		}
		if shard.Manifest != nil {
			f.size = shard.Manifest.Bytes
		}
		f.open = func(ctx context.Context) (io.ReadCloser, error) {
			if shard.Manifest == nil {
				return nil, same(nil, cache.Manifest{})
			}
			in, _, err := m.Snapshots.Open(ctx, shard.Object, 0)
			return in, missing(err)
		}
		out = append(out, f)
	}
	return out
}

func (m *Mover) objectFile(ctx context.Context, region, arn string) (seedFile, error) {
	bucketName, key, err := objects.ParseARN(arn)
	if err != nil {
		return seedFile{}, fmt.Errorf("%w: %w", err, cache.ErrPermanent)
	}
	bucket, err := m.Buckets.Open(ctx, region, bucketName)
	if err != nil {
		return seedFile{}, classify(err)
	}
	info, err := bucket.Stat(ctx, key)
	if err != nil {
		return seedFile{}, missing(err)
	}
	return seedFile{name: "s3://" + bucketName + "/" + key, size: info.Size, open: func(ctx context.Context) (io.ReadCloser, error) {
		in, _, err := bucket.Open(ctx, key, 0)
		return in, missing(err)
	}}, nil
}

// look reads the beginning of a file: its version and its functions, which stand
// before its entries.
func (f *seedFile) look(ctx context.Context) (err error) {
	in, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	r := rdb.NewReader(in)
	r.StreamAbove(streamAbove)
	if f.header, err = r.Header(); err != nil {
		return classify(err)
	}
	if _, err := r.Next(); err != nil && !errors.Is(err, io.EOF) {
		return classify(err)
	}
	f.functions = r.Functions()
	return nil
}

// streamAbove is from what size in bytes on a value is not held in memory.
const streamAbove = 4 << 20

// tally counts what has been read of all files together.
type tally struct {
	mu          sync.Mutex
	read, total int64
	told        int64
	tell        func(read, total int64)
}

// tellEvery is how many bytes may pass in silence.
const tellEvery = 1 << 20

func newTally(tell func(read, total int64), files []seedFile) *tally {
	t := &tally{tell: tell}
	for i := range files {
		t.total += files[i].size
	}
	return t
}

// of counts what is read of in.
func (t *tally) of(in io.Reader) io.Reader { return tallied{in, t} }

type tallied struct {
	io.Reader
	t *tally
}

// Read counts.
func (r tallied) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.t.add(int64(n))
	return n, err
}

func (t *tally) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read += n
	if t.tell != nil && t.read-t.told >= tellEvery {
		t.told = t.read
		t.tell(t.read, t.total)
	}
}
