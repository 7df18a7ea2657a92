package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
)

// importing makes a snapshot of the service out of a backup of anything.
type importing struct {
	dir          dataDir
	region, name string
	kmsKey       string
}

// importReport is what is told of it.
type importReport struct {
	Snapshot string `json:"snapshot"`
	Region   string `json:"region"`
	Engine   string `json:"engine"`
	Version  string `json:"engineVersion"`
	// Available: the snapshot can be used; otherwise it can once the service runs.
	Available bool            `json:"available"`
	Files     []*backupReport `json:"files"`
}

func (r *importReport) print(w io.Writer) error {
	for _, f := range r.Files {
		if err := f.print(w); err != nil {
			return err
		}
	}
	state := "is available"
	if !r.Available {
		state = "becomes available when the service starts: no service runs"
	}
	return printText(w, fmt.Sprintf("\nsnapshot %s of region %s, %s %s, %s\n", r.Snapshot, r.Region, r.Engine, r.Version, state))
}

// importable refuses what cannot become a snapshot.
func importable(src *end, r *road, only *selectFlags) error {
	if err := only.apply(src, nil); err != nil {
		return err
	}
	switch {
	case src.server != nil:
		return r.check(src)
	case src.view != nil:
		return usageError{fmt.Errorf("%s is taken into a snapshot as it is; restore it to a server and back that up to leave keys out", src.name)}
	case len(src.files) != 1:
		return usageError{fmt.Errorf("%s are several files; a snapshot is made of one, or of a running cluster", src.name)}
	}
	return nil
}

// runImport backs a source up and registers it as a snapshot.
func runImport(cmd *cobra.Command, i *importing, r *road, src *end, out *output) error {
	bars := newProgressGroup(cmd.ErrOrStderr())
	steps := &phases{group: bars}
	rep, err := i.run(cmd.Context(), r, src, steps)
	steps.done()
	bars.wait()
	if err != nil {
		return fmt.Errorf("cannot make snapshot %s of %s: %w", i.name, src.name, err)
	}
	if out.json() {
		return printJSON(cmd.OutOrStdout(), rep)
	}
	return rep.print(cmd.OutOrStdout())
}

// run stages the files, registers them, and waits for the snapshot where there is a
// service to make it.
func (i *importing) run(ctx context.Context, r *road, src *end, steps *phases) (_ *importReport, err error) {
	if !i.dir.exists() {
		return nil, fmt.Errorf("no service has ever been started in %s; --data names another data directory", i.dir)
	}
	if err := errors.Join(control.CheckImport(i.region, i.name, i.kmsKey), i.free(ctx)); err != nil {
		return nil, err
	}
	staged, err := i.stage()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, staged.close()) }()
	in := &control.NewImport{Name: i.name, KmsKeyID: i.kmsKey, Import: cache.Import{Staged: filepath.Base(staged.path), Origin: src.name}}
	rep := &importReport{Snapshot: strings.ToLower(i.name), Region: i.region}
	if src.server != nil {
		err = i.ofServer(ctx, r, src, staged.path, in, rep, steps)
	} else {
		err = i.ofFiles(ctx, src, staged.path, in, rep)
	}
	if err != nil {
		return nil, err
	}
	if err := syncTree(staged.path); err != nil {
		return nil, err
	}
	rep.Engine, rep.Version = in.Engine, in.Version
	running, err := i.hand(ctx, staged, in)
	if err != nil {
		return nil, err
	}
	if running {
		err = i.await(ctx)
		rep.Available = err == nil
	}
	return rep, err
}

// hand registers what is staged, which is kept unless it was surely not registered.
func (i *importing) hand(ctx context.Context, staged *staged, in *control.NewImport) (running bool, err error) {
	running, err = i.dir.register(ctx, i.region, in)
	var unsure unsureError
	staged.kept = err == nil || errors.As(err, &unsure)
	if err != nil && staged.kept {
		err = fmt.Errorf("%w. Whether it was registered is not known: look whether the snapshot is there before you try again. The files stay in %s until the service has imported them, or is started and knows nothing of them", err, staged.path)
	}
	return running, err
}

// free refuses a name that is taken before anything is read. Registering decides.
func (i *importing) free(ctx context.Context) error {
	all, err := i.dir.listSnapshots(ctx, i.region)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.name == strings.ToLower(i.name) {
			return fmt.Errorf("snapshot %s of region %s exists already", s.name, i.region)
		}
	}
	return nil
}

// staged is a directory that files wait in. The lock tells that whoever fills it lives.
type staged struct {
	path string
	lock *os.File
	// kept: it is registered, or may be.
	kept bool
}

// stagedLock is the file in it that is locked.
const stagedLock = ".lock"

func (i *importing) stage() (*staged, error) {
	parent := filepath.Join(i.dir.incoming(), i.region)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make room for the import: %w", err)
	}
	path, err := os.MkdirTemp(parent, "import-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("cannot make room for the import: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, stagedLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make room for the import: %w", err), os.RemoveAll(path))
	}
	return &staged{path: path, lock: f}, nil
}

// close takes away what was surely not registered.
func (s *staged) close() error {
	if s.kept {
		return s.lock.Close()
	}
	return errors.Join(os.RemoveAll(s.path), s.lock.Close())
}

// ofServer backs a server, or every shard of a cluster, up into the directory.
func (i *importing) ofServer(ctx context.Context, r *road, src *end, dir string, in *control.NewImport, rep *importReport, steps *phases) error {
	srv, err := lookAt(ctx, *src.server)
	if err != nil {
		return err
	}
	in.Engine, in.Version = srv.Engine, srv.Version
	t, err := clusterOf(ctx, *src.server)
	if err != nil {
		return err
	}
	if t == nil {
		one, err := backup(ctx, r, src, rdbFile{path: filepath.Join(dir, "0001.rdb")}, steps)
		if err != nil {
			return err
		}
		rep.Files = []*backupReport{one}
	} else {
		in.Clustered = true
		if rep.Files, err = i.ofShards(ctx, r, src, t, dir); err != nil {
			return err
		}
	}
	for n, f := range rep.Files {
		file := importFile(n, f)
		if t != nil {
			for _, s := range t.Shards[n].Slots {
				file.Slots = append(file.Slots, cache.SlotRange(s))
			}
		}
		in.Import.Files = append(in.Import.Files, file)
	}
	return nil
}

func (i *importing) ofShards(ctx context.Context, r *road, src *end, t *resp.Topology, dir string) ([]*backupReport, error) {
	shards := make([]resp.Options, len(t.Shards))
	for n := range t.Shards {
		shards[n] = src.server.At(t.Shards[n].Primary.Addr)
	}
	all, err := backupShards(ctx, r, src, shards, rdbFile{path: filepath.Join(dir, ".rdb")})
	if err != nil {
		return nil, err
	}
	now, err := clusterOf(ctx, *src.server)
	if err != nil {
		return nil, err
	}
	if now == nil || !now.Equal(t) {
		return nil, errors.New("the cluster changed while it was read; try again")
	}
	for n := range all.Shards { // "-0001.rdb"
		name := cache.NodeGroupName(n + 1)
		if err := os.Rename(filepath.Join(dir, "-"+name+".rdb"), filepath.Join(dir, name+".rdb")); err != nil {
			return nil, err
		}
	}
	return all.Shards, nil
}

// importFile is what a backup's report says of a file.
func importFile(n int, f *backupReport) cache.ImportFile {
	out := cache.ImportFile{
		Name: cache.NodeGroupName(n+1) + ".rdb", NodeGroupID: cache.NodeGroupName(n + 1), TakenAt: time.Now(),
		Fingerprint: f.Content.String(), Bytes: f.Bytes, Method: cache.MethodForkless, Consistency: f.Read.Consistency,
		ReplicationID: f.Read.ReplicationID, Offset: f.Read.Offset,
	}
	if f.Read.Road == roadReplica {
		out.Method = cache.MethodForked
	}
	if f.Read.At != nil {
		out.TakenAt = *f.Read.At
	}
	return out
}

// ofFiles copies an RDB file into the directory and looks at it on the way.
func (i *importing) ofFiles(ctx context.Context, src *end, dir string, in *control.NewImport, rep *importReport) (err error) {
	file, began := src.files[0], time.Now()
	from, err := file.input(ctx)
	if err != nil {
		return err
	}
	r, err := from.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	target, err := sink.File(filepath.Join(dir, "0001.rdb"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Abort()) }()
	p := &passing{target: target, print: newFingerprinter(ctx, 0, nil)}
	defer p.print.abort()
	if _, err := io.Copy(writerOnly{p}, r); err != nil {
		return err
	}
	c, err := p.check(ctx, rdbFile{path: filepath.Join(dir, "0001.rdb")}, func(int64) {})
	if err != nil {
		return err
	}
	f := &backupReport{
		Source: src.name, Target: snapshotPrefix + i.name, RDB: c.info.Header.String(), Bytes: p.n, Content: c.print,
		Functions: len(c.info.Functions), ModuleAux: len(c.info.ModuleAux), Checksummed: c.info.Checksummed, ReadBack: true,
		timing: newTiming(time.Since(began), c.print.Totals().Keys),
	}
	rep.Files = []*backupReport{f}
	in.Engine, in.Version = writtenBy(&c.info)
	one := importFile(0, f)
	one.Method = cache.MethodFile
	in.Import.Files = []cache.ImportFile{one}
	return nil
}

// writerOnly hides every other method, so that io.Copy uses its own buffer.
type writerOnly struct{ io.Writer }

// writtenBy is the engine that wrote a file, by what the file says. One that does not
// say is as old as its format.
func writtenBy(info *source.FileInfo) (engine, version string) {
	for _, a := range info.Aux {
		if name, ok := strings.CutSuffix(a.Name, "-ver"); ok && (name == cache.Redis || name == cache.Valkey) {
			return name, a.Value
		}
	}
	switch v := info.Header.Version; {
	case v <= 8:
		return cache.Redis, "4.0.10"
	case v == 9:
		return cache.Redis, "5.0.6"
	case v == 10:
		return cache.Redis, "7.0.0"
	case v >= 80:
		return cache.Valkey, "9.0.0"
	}
	return cache.Redis, "7.2.0"
}

// await waits until the service has made the snapshot.
func (i *importing) await(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := i.dir.listSnapshots(ctx, i.region)
		if err != nil {
			return fmt.Errorf("it was registered; how far it is cannot be asked: %w", err)
		}
		for _, s := range all {
			switch {
			case s.name != strings.ToLower(i.name):
			case s.status == cache.StatusFailed:
				return errors.New("the service could not import it; describe-events tells why")
			case s.readable():
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// syncTree syncs the files of a directory and their names.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	paths := []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))}
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("cannot sync %s: %w", path, err)
		}
	}
	return nil
}
