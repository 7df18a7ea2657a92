package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// Seed writes the file that a node is to start from. It is read to its end on
// the way, so a corrupt one, or one that the engine could not load, never gets
// near an engine; one of a snapshot must hold what its manifest says.
func (m *Mover) Seed(ctx context.Context, job cache.SeedJob) (cache.Manifest, error) {
	build, err := m.Build(job.Build)
	if err != nil {
		return cache.Manifest{}, err
	}
	in, name, err := m.openSeed(ctx, job)
	if err != nil {
		return cache.Manifest{}, err
	}
	defer in.Close()
	buffered := bufio.NewReader(in)
	if err := loadable(buffered, build); err != nil {
		return cache.Manifest{}, fmt.Errorf("%s: %w", name, err)
	}
	man, err := place(job.Path, func(out io.Writer) (cache.Manifest, error) {
		man, err := newPassage(buffered, out).examine(ctx, name)
		if err == nil && job.From != nil {
			err = same(job.From.Shards[0].Manifest, man)
		}
		return man, err
	})
	if err != nil {
		return cache.Manifest{}, fmt.Errorf("%s: %w", name, err)
	}
	return man, nil
}

// loadable looks at the first bytes of a file to tell whether the engine reads
// its version; whatever else is wrong with it shows when it is read.
func loadable(in *bufio.Reader, build Build) error {
	head, err := in.Peek(16)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, err := rdb.NewReader(bytes.NewReader(head)).Header()
	if err == nil && !build.Reads(h.Version) {
		return fmt.Errorf("this is an RDB file of version %s, which %s %s does not read: %w", h, build.Engine, build.Version, cache.ErrPermanent)
	}
	return nil
}

func (m *Mover) openSeed(ctx context.Context, job cache.SeedJob) (io.ReadCloser, string, error) {
	if job.From != nil {
		if len(job.From.Shards) != 1 {
			return nil, "", fmt.Errorf("snapshot %s has %d files, one is needed: %w", job.From.Name, len(job.From.Shards), cache.ErrPermanent)
		}
		in, _, err := m.Snapshots.Open(ctx, job.From.Shards[0].Object, 0)
		return in, "snapshot " + job.From.Name, missing(err)
	}
	bucketName, key, err := objects.ParseARN(job.ObjectARN)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", err, cache.ErrPermanent)
	}
	bucket, err := m.Buckets.Open(ctx, job.Region, bucketName)
	if err != nil {
		return nil, "", classify(err)
	}
	in, _, err := bucket.Open(ctx, key, 0)
	return in, "s3://" + bucketName + "/" + key, missing(err)
}

// place writes a file under another name and gives it its own once it is whole and on disk.
func place(path string, write func(io.Writer) (cache.Manifest, error)) (man cache.Manifest, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return man, fmt.Errorf("cannot create the node's directory: %w", err)
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return man, fmt.Errorf("cannot create the seed file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, gone(os.Remove(part)))
		}
	}()
	man, err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return man, err
	}
	return man, os.Rename(part, path)
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Verify compares a live node with the file that it was seeded from.
func (m *Mover) Verify(ctx context.Context, job cache.VerifyJob) error {
	opt := loginOptions(job.Node)
	again := source.NewScan(opt, source.ScanOptions{})
	defer again.Close()
	report, err := verify.Compare(ctx,
		verify.End{Name: "the file", Open: func(context.Context) (flow.Source, error) {
			return source.NewRDB(source.File(job.Path)), nil
		}},
		verify.End{Name: "the node", Recheck: again.Lookup, Open: func(context.Context) (flow.Source, error) {
			return source.NewScan(opt, source.ScanOptions{}), nil
		}},
		verify.CompareOptions{Limit: maxNamed})
	if err != nil {
		return classify(err)
	}
	if report.Equal {
		return nil
	}
	named := make([]string, 0, maxNamed)
	for i := range report.Differences {
		named = append(named, report.Differences[i].String())
	}
	return fmt.Errorf("%s, among them %s: %w", report.Verdict(), strings.Join(named, "; "), cache.ErrPermanent)
}

// maxNamed is how many differing keys an error names.
const maxNamed = 5

// Park refuses further writes at a node and writes its data to a file of its
// own, complete or not at all, from which it can be started again. When that
// fails the node takes writes as before.
func (m *Mover) Park(ctx context.Context, node cache.Login, path string) (man cache.Manifest, err error) {
	conn, err := resp.Dial(ctx, loginOptions(node))
	if err != nil {
		return man, err
	}
	defer conn.Close()
	allow, err := holdWrites(ctx, conn)
	if err != nil {
		return man, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, allow(context.WithoutCancel(ctx)))
		}
	}()
	body, _, err := source.Snapshot(ctx, loginOptions(node))
	if err != nil {
		return man, err
	}
	defer body.Close()
	return place(path, func(out io.Writer) (cache.Manifest, error) {
		return newPassage(body, out).examine(ctx, path)
	})
}

// holdWrites makes a node refuse writes until allow is called. Asking for more
// replicas than anyone has is the one way that every version takes and that
// answers clients at once.
func holdWrites(ctx context.Context, conn *resp.Conn) (allow func(context.Context) error, err error) {
	const parameter = "min-replicas-to-write"
	before, err := conn.Do(ctx, "CONFIG", "GET", parameter)
	if err != nil {
		return nil, err
	}
	if len(before.Elems) != 2 {
		return nil, fmt.Errorf("the node does not know %s", parameter)
	}
	was := string(before.Elems[1].Bytes)
	set := func(ctx context.Context, value string) error {
		_, err := conn.Do(ctx, "CONFIG", "SET", parameter, value)
		return err
	}
	return func(ctx context.Context) error { return set(ctx, was) }, set(ctx, "10000")
}
