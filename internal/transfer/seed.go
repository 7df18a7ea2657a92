package transfer

import (
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
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// Seed writes the files that nodes are to start from. What they are made of is
// read to its end on the way, so a corrupt file, or one that the engine could not
// load, never gets near an engine; one of a snapshot must hold what its manifest
// says. A file that its engine reads as it is is copied; otherwise its entries are
// written anew, each into the file of its slot's node group.
func (m *Mover) Seed(ctx context.Context, job cache.SeedJob) (cache.Seeded, error) {
	build, err := m.Build(job.Build)
	if err != nil {
		return cache.Seeded{}, err
	}
	files, err := m.seedFiles(ctx, job)
	if err != nil {
		return cache.Seeded{}, err
	}
	for i := range files {
		if err := files[i].look(ctx); err != nil {
			return cache.Seeded{}, fmt.Errorf("%s: %w", files[i].name, err)
		}
	}
	if !job.Clustered && len(files) == 1 && len(job.Parts) == 1 && build.Reads(files[0].header.Version) {
		return copySeed(ctx, job, files[0])
	}
	return divide(ctx, job, build, files)
}

// copySeed passes a file on as it is.
func copySeed(ctx context.Context, job cache.SeedJob, f seedFile) (cache.Seeded, error) {
	in, err := f.open(ctx)
	if err != nil {
		return cache.Seeded{}, fmt.Errorf("%s: %w", f.name, err)
	}
	defer in.Close()
	told := newTally(job.Progress, []seedFile{f})
	man, err := place(job.Parts[0].Path, func(out io.Writer) (cache.Manifest, error) {
		man, err := newPassage(told.of(in), out).examine(ctx, f.name)
		if err == nil && f.manifest != nil {
			err = same(f.manifest, man)
		}
		return man, err
	})
	if err != nil {
		return cache.Seeded{}, fmt.Errorf("%s: %w", f.name, err)
	}
	return cache.Seeded{Whole: man, Parts: map[string]cache.Manifest{job.Parts[0].NodeGroupID: man}}, nil
}

// place writes a file under another name and gives it its own, on disk too, once it is whole and there.
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
	return man, rename(part, path)
}

// rename gives a file its name, which is on disk then like the file: the engine that
// its data are from may be gone before the system writes names of its own accord.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir := filepath.Dir(to)
	for _, path := range []string{dir, filepath.Dir(dir)} { // dir may be new
		d, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("cannot sync the name of %s: %w", to, err)
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return fmt.Errorf("cannot sync the name of %s: %w", to, err)
		}
	}
	return nil
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
