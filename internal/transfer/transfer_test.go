package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
	"holdfast.dev/internal/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dirBuckets are buckets that are directories; each is in region "here".
type dirBuckets struct{ root string }

func (b dirBuckets) Region(_ context.Context, bucket string) (string, error) {
	if _, err := os.Stat(filepath.Join(b.root, bucket)); err != nil {
		return "", objects.ErrNoSuchBucket
	}
	return "here", nil
}

func (b dirBuckets) Open(ctx context.Context, region, bucket string) (objects.Store, error) {
	home, err := b.Region(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if home != region {
		return nil, &objects.RegionError{Bucket: bucket, Want: region, Region: home}
	}
	return objects.Dir(filepath.Join(b.root, bucket))
}

// world is a mover, its places, and a server with data.
type world struct {
	*Mover
	dir    string
	bucket objects.Store
	server *testkit.Server
}

const testKeys = 5000

func newWorld(t *testing.T, b catalog.Build) *world {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "buckets", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	snapshots, err := objects.Dir(filepath.Join(dir, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	buckets := dirBuckets{filepath.Join(dir, "buckets")}
	bucket, err := buckets.Open(t.Context(), "here", "b")
	if err != nil {
		t.Fatal(err)
	}
	builds := testkit.Catalog(t)
	m := New(Config{Snapshots: snapshots, Buckets: buckets, Build: func(name string) (Build, error) {
		b, ok := builds.Build(name)
		if !ok {
			return Build{}, errors.New("not installed: " + name)
		}
		return Build{Engine: b.Engine, Version: b.Version, Reads: b.Reads}, nil
	}})
	w := &world{Mover: m, dir: dir, bucket: bucket, server: testkit.StartServer(t, b, testkit.Config("repl-diskless-sync yes", "repl-diskless-sync-delay 0"))}
	w.fill(t)
	return w
}

func (w *world) fill(t *testing.T) {
	t.Helper()
	shape, err := source.Preset("mixed", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	shape.Keys, shape.Databases = testKeys, 2
	src, err := source.NewGenerate(shape)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := sink.NewServer(t.Context(), resp.Options{Addr: w.server.Addr()}, sink.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := flow.Run(t.Context(), src, dst, flow.Options{}); err != nil {
		t.Fatal(err)
	}
}

func login(s *testkit.Server) cache.Login {
	host, port, _ := net.SplitHostPort(s.Addr())
	n, _ := strconv.Atoi(port)
	return cache.Login{Address: cache.Address{Host: host, Port: n}}
}

func (w *world) live(t *testing.T) string {
	t.Helper()
	f, err := verify.Compute(t.Context(), source.NewScan(resp.Options{Addr: w.server.Addr()}, source.ScanOptions{}), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f.String()
}

// backup takes a snapshot named s.
func (w *world) backup(t *testing.T) cache.Snapshot {
	t.Helper()
	s := cache.Snapshot{Region: "here", Name: "s"}
	object := w.SnapshotObject(s, "0001")
	man, err := w.Snapshot(t.Context(), cache.SnapshotJob{Region: "here", Object: object, Node: login(w.server), Build: w.server.Build.Name})
	if err != nil {
		t.Fatal(err)
	}
	s.Shards = []cache.ShardSnapshot{{NodeGroupID: "0001", Object: object, Manifest: &man}}
	return s
}

func read(t *testing.T, s objects.Store, key string) []byte {
	t.Helper()
	r, _, err := s.Open(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, s objects.Store, key string, b []byte) {
	t.Helper()
	if _, err := objects.Put(t.Context(), s, key, bytes.NewReader(b), objects.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestASnapshotIsWhatTheNodeHolds(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		w := newWorld(t, b)
		s := w.backup(t)
		m := s.Shards[0].Manifest
		if live := w.live(t); m.Fingerprint != live && (b.ExpireTime || !verify.SameData(m.Fingerprint, live)) {
			t.Errorf("the snapshot has fingerprint %s, the node %s", m.Fingerprint, live)
		}
		if m.Keys != testKeys || m.KeysByDB[0]+m.KeysByDB[1] != testKeys || m.KeysByType["stream"] == 0 || m.Volatile == 0 {
			t.Errorf("the manifest counts %+v", m)
		}
		if m.Version != b.Version || m.RDBVersion != b.RDBVersion || m.ReplicationID == "" || m.SHA256 == "" {
			t.Errorf("the manifest says %+v", m)
		}
		file := read(t, w.Snapshots, s.Shards[0].Object)
		if int64(len(file)) != m.Bytes {
			t.Errorf("the file has %d bytes, the manifest says %d", len(file), m.Bytes)
		}
		if !bytes.Contains(read(t, w.Snapshots, "here/s/0001.json"), []byte(m.Fingerprint)) {
			t.Error("the manifest beside the file does not hold the fingerprint")
		}
	})
}

func TestAReplicaThatIsBehindIsNotBackedUp(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	_, err := w.Snapshot(t.Context(), cache.SnapshotJob{Object: "here/s/0001.rdb", Node: login(w.server), Build: w.server.Build.Name, MinOffset: 1 << 60})
	if err == nil || !strings.Contains(err.Error(), "offset") {
		t.Errorf("a snapshot from before the offset: %v", err)
	}
	w.wantNoFiles(t)
}

func (w *world) wantNoFiles(t *testing.T) {
	t.Helper()
	for info, err := range w.Snapshots.List(t.Context(), "") {
		t.Errorf("something is left: %v %v", info.Key, err)
	}
}

func TestASnapshotThatIsCutLeavesNothing(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	p := testkit.Proxy(t, w.server.Addr())
	p.CutAfter(testkit.ToClient, 100_000)
	through := login(w.server)
	through.Address.Host, through.Address.Port = "127.0.0.1", p.Port()
	_, err := w.Snapshot(t.Context(), cache.SnapshotJob{Object: "here/s/0001.rdb", Node: through, Build: w.server.Build.Name})
	if err == nil {
		t.Fatal("a stream that broke off was taken for a snapshot")
	}
	if errors.Is(err, cache.ErrPermanent) {
		t.Errorf("a stream that broke off is not tried again: %v", err)
	}
	w.wantNoFiles(t)
}

func TestACopyIsCheckedAgainstItsManifest(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	s := w.backup(t)
	to := cache.Snapshot{Region: "here", Name: "copy"}
	shards, err := w.Copy(t.Context(), s, to)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, w.Snapshots, shards[0].Object), read(t, w.Snapshots, s.Shards[0].Object)) {
		t.Error("the copy differs")
	}
	if again, err := w.Copy(t.Context(), s, to); err != nil || again[0].Manifest.SHA256 != shards[0].Manifest.SHA256 {
		t.Errorf("copying again: %v", err)
	}
	rotten := read(t, w.Snapshots, s.Shards[0].Object)
	rotten[len(rotten)/2] ^= 1
	put(t, w.Snapshots, s.Shards[0].Object, rotten)
	if _, err := w.Copy(t.Context(), s, cache.Snapshot{Region: "here", Name: "rotten"}); !errors.Is(err, cache.ErrPermanent) {
		t.Errorf("a file that has rotted was copied: %v", err)
	}
	if err := w.Erase(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := w.Erase(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	w.wantNoFiles(t)
}

func TestAnExportNeverReplacesAnything(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	s := w.backup(t)
	if err := w.Export(t.Context(), s, cache.Export{TargetName: "e", Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, w.bucket, "e-0001.rdb"), read(t, w.Snapshots, s.Shards[0].Object)) {
		t.Error("the exported file differs")
	}
	if err := w.Export(t.Context(), s, cache.Export{TargetName: "e", Bucket: "b"}); err != nil {
		t.Errorf("an export that had been done and not written down: %v", err)
	}
	put(t, w.bucket, "mine-0001.rdb", []byte("not to be lost"))
	err := w.Export(t.Context(), s, cache.Export{TargetName: "mine", Bucket: "b"})
	if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "already contains an object with key mine-0001.rdb") {
		t.Errorf("exporting over another object: %v", err)
	}
	if string(read(t, w.bucket, "mine-0001.rdb")) != "not to be lost" {
		t.Error("it was replaced")
	}
	for bucket, region := range map[string]string{"none": "here", "b": "there"} {
		s.Region = region
		if err := w.Export(t.Context(), s, cache.Export{TargetName: "x", Bucket: bucket}); !errors.Is(err, cache.ErrPermanent) {
			t.Errorf("exporting to bucket %s from %s: %v", bucket, region, err)
		}
	}
}

// brokenStore breaks off in the middle of whatever is read from it.
type brokenStore struct{ objects.Store }

var errBroken = errors.New("the line broke")

func (s brokenStore) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, objects.Info, error) {
	in, info, err := s.Store.Open(ctx, key, offset)
	if err != nil {
		return nil, info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(in, info.Size/2), iotest.ErrReader(errBroken)), in}, info, nil
}

type brokenBuckets struct{ objects.Buckets }

func (b brokenBuckets) Open(ctx context.Context, region, bucket string) (objects.Store, error) {
	s, err := b.Buckets.Open(ctx, region, bucket)
	return brokenStore{s}, err
}

// An object that cannot be read at the moment is not taken for somebody else's.
func TestAnExportThatCannotBeComparedIsTriedAgain(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	s, e := w.backup(t), cache.Export{TargetName: "e", Bucket: "b"}
	if err := w.Export(t.Context(), s, e); err != nil {
		t.Fatal(err)
	}
	w.Buckets = brokenBuckets{w.Buckets}
	if err := w.Export(t.Context(), s, e); !errors.Is(err, errBroken) || errors.Is(err, cache.ErrPermanent) {
		t.Errorf("a line that broke: %v", err)
	}
}

// part is the one file of a seed that is not divided.
func part(path string) []cache.SeedPart {
	return []cache.SeedPart{{NodeGroupID: cache.NodeGroupID, Slots: cache.AllSlots(), Path: path}}
}

func TestASeedIsReadBeforeAnEngineSeesIt(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	s := w.backup(t)
	file := read(t, w.Snapshots, s.Shards[0].Object)
	flipped := bytes.Clone(file)
	flipped[len(flipped)/3] ^= 4
	put(t, w.bucket, "good.rdb", file)
	put(t, w.bucket, "short.rdb", file[:len(file)-5000])
	put(t, w.bucket, "flipped.rdb", flipped)
	put(t, w.bucket, "text.rdb", []byte("this is no RDB file"))
	put(t, w.bucket, "empty.rdb", nil)
	put(t, w.bucket, "new.rdb", append([]byte("VALKEY080"), file[9:]...))
	put(t, w.bucket, "newest.rdb", append([]byte("REDIS0999"), file[9:]...))
	for key, want := range map[string]string{
		"good.rdb": "", "short.rdb": "at byte", "flipped.rdb": "at byte", "text.rdb": "not an RDB file", "empty.rdb": "at byte",
		"new.rdb": "checksum", "newest.rdb": "unsupported RDB version", "missing.rdb": "",
	} {
		path := filepath.Join(w.dir, "node", key)
		made, err := w.Seed(t.Context(), cache.SeedJob{Region: "here", ObjectARNs: []string{"arn:aws:s3:::b/" + key}, Parts: part(path), Build: w.server.Build.Name})
		man := made.Whole
		if key == "good.rdb" {
			if err != nil || man.Fingerprint != s.Shards[0].Manifest.Fingerprint {
				t.Errorf("a good file: %v, fingerprint %s", err, man.Fingerprint)
			}
			continue
		}
		if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that says %q", key, err, want)
		}
		if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
			t.Errorf("%s left %v", key, left)
		}
	}
}

func TestASeedOfASnapshotHoldsWhatItsManifestSays(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	s := w.backup(t)
	w.server.Must("SET", "another", "key")
	other := w.backup(t)
	other.Shards[0].Manifest = s.Shards[0].Manifest // its file has been replaced by a later one
	_, err := w.Seed(t.Context(), cache.SeedJob{Region: "here", From: &other, Parts: part(filepath.Join(w.dir, "seed")), Build: w.server.Build.Name})
	if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "fingerprint") {
		t.Errorf("a file that is not the manifest's: %v", err)
	}
}

func TestALiveNodeIsComparedWithItsSeed(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "redis-7.0"))
	s := w.backup(t)
	path := filepath.Join(w.dir, "seed")
	if _, err := w.Seed(t.Context(), cache.SeedJob{Region: "here", From: &s, Parts: part(path), Build: w.server.Build.Name}); err != nil {
		t.Fatal(err)
	}
	job := cache.VerifyJob{Path: path, Node: login(w.server)}
	if err := w.Verify(t.Context(), job); err != nil {
		t.Errorf("the node still holds what was backed up: %v", err)
	}
	w.server.Must("SET", "intruder", "x")
	if err := w.Verify(t.Context(), job); !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "intruder") {
		t.Errorf("a key too many: %v", err)
	}
}

func TestAParkedNodeTakesNoMoreWritesAndItsFileIsWhole(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		w := newWorld(t, b)
		path := filepath.Join(w.dir, "parked.rdb")
		man, err := w.Park(t.Context(), login(w.server), path)
		if err != nil {
			t.Fatal(err)
		}
		if man.Keys != testKeys {
			t.Errorf("%d keys were kept, want %d", man.Keys, testKeys)
		}
		if _, err := w.server.Try("SET", "late", "write"); err == nil {
			t.Error("a write was acknowledged that is not in the file")
		}
	})
}

func TestANodeThatCannotBeParkedGoesOnServing(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	if _, err := w.Park(t.Context(), login(w.server), filepath.Join("/proc/no/such", "place")); err == nil {
		t.Fatal("parked where nothing can be written")
	}
	w.server.Must("SET", "still", "writable")
}

// failsOnce refuses one write and takes all others, as a disk does that was full for a moment.
type failsOnce struct {
	bytes.Buffer
	at, writes int
}

func (f *failsOnce) Write(p []byte) (int, error) {
	if f.writes++; f.writes == f.at {
		return 0, errors.New("no room")
	}
	return f.Buffer.Write(p)
}

func TestOneWriteThatFailsIsNotForgotten(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	s := w.backup(t)
	file := read(t, w.Snapshots, s.Shards[0].Object)
	whole := &failsOnce{}
	if _, err := newPassage(bytes.NewReader(file), whole).examine(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= whole.writes; at++ {
		out := &failsOnce{at: at}
		if _, err := newPassage(bytes.NewReader(file), out).examine(t.Context(), "f"); err == nil {
			t.Errorf("write %d of %d failed, and %d of %d bytes were taken for the whole", at, whole.writes, out.Len(), len(file))
		}
	}
}
