package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/testkit"
)

// rdbFile writes keys into an RDB file of a version. A key "n/name" belongs to
// database n.
func rdbFile(t *testing.T, version int, functions []string, keys ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := rdb.NewWriter(&out, rdb.HeaderOf(version))
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range functions {
		if err := w.Function(rdb.FunctionLibrary{Raw: rdb.AppendString(nil, []byte(code))}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range keys {
		e := rdb.Entry{Type: rdb.TypeString, Idle: -1, Freq: -1, Value: rdb.AppendString(nil, []byte("value of "+key))}
		if db, name, ok := strings.Cut(key, "/"); ok {
			e.DB, key = int(db[0]-'0'), name
		}
		e.Key = []byte(key)
		if err := w.Write(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func names(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return out
}

// parts are files for even node groups.
func (w *world) parts(n int) []cache.SeedPart {
	out := make([]cache.SeedPart, n)
	for i, slots := range cache.EvenSlots(n) {
		id := cache.NodeGroupName(i + 1)
		out[i] = cache.SeedPart{NodeGroupID: id, Slots: slots, Path: filepath.Join(w.dir, "node", id)}
	}
	return out
}

// held reads the file of a part: the slot of every key is one of the part's.
func held(t *testing.T, p cache.SeedPart) (keys []string, functions int) {
	t.Helper()
	f, err := os.Open(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rdb.NewReader(f)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(keys)
			return keys, len(r.Functions())
		}
		if err != nil {
			t.Fatal(err)
		}
		slot := resp.Slot(e.Key)
		if p.Slots.Common(cache.Slots{{First: slot, Last: slot}}) != 1 {
			t.Errorf("key %q of slot %d is in the file of slots %s", e.Key, slot, p.Slots)
		}
		keys = append(keys, string(e.Key))
	}
}

func (w *world) objects(t *testing.T, files ...[]byte) (arns []string) {
	t.Helper()
	for i, b := range files {
		key := fmt.Sprintf("%s-%d.rdb", strings.ReplaceAll(t.Name(), "/", "-"), i)
		put(t, w.bucket, key, b)
		arns = append(arns, "arn:aws:s3:::b/"+key)
	}
	return arns
}

func TestManyFilesAreDividedByTheirSlots(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	a, b := names("a", 900), names("b", 700)
	library := "#!lua name=l\nredis.register_function('f', function() return 1 end)"
	arns := w.objects(t, rdbFile(t, 11, []string{library}, a...), rdbFile(t, 11, []string{library}, b...))
	var told []int64
	job := cache.SeedJob{
		Region: "here", ObjectARNs: arns, Build: w.server.Build.Name, Clustered: true, Parts: w.parts(3),
		Progress: func(read, total int64) { told = append(told, read, total) },
	}
	made, err := w.Seed(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range job.Parts {
		keys, functions := held(t, p)
		if int64(len(keys)) != made.Parts[p.NodeGroupID].Keys || functions != 1 {
			t.Errorf("node group %s has %d keys and %d libraries, its manifest says %d keys", p.NodeGroupID, len(keys), functions, made.Parts[p.NodeGroupID].Keys)
		}
		all = append(all, keys...)
	}
	want := append(a, b...)
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) || made.Whole.Keys != int64(len(want)) {
		t.Errorf("%d keys arrived and the manifest of all says %d, %d are wanted", len(all), made.Whole.Keys, len(want))
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "node", "*.part")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}

	// One part once more, with the others where they are.
	before, err := os.ReadFile(job.Parts[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	one := job
	one.Parts = job.Parts[1:2]
	again, err := w.Seed(t.Context(), one)
	if err != nil || again.Parts["0002"].Fingerprint != made.Parts["0002"].Fingerprint || len(again.Parts) != 1 {
		t.Errorf("one part again: %v, %v", again.Parts, err)
	}
	if after, _ := os.ReadFile(job.Parts[0].Path); !bytes.Equal(before, after) {
		t.Error("a part that was not asked for was written")
	}
}

func TestASnapshotIsDividedAndHoldsWhatItsManifestSays(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "redis-7.0"))
	w.server.Must("SWAPDB", "0", "1")
	w.server.Must("FLUSHDB") // a cluster has one database
	w.server.Must("SWAPDB", "0", "1")
	live := w.live(t)
	if n := w.server.Must("DBSIZE"); n == int64(0) {
		t.Fatal("the server holds nothing")
	}
	s := w.backup(t)
	job := cache.SeedJob{Region: "here", From: &s, Build: w.server.Build.Name, Clustered: true, Parts: w.parts(5)}
	made, err := w.Seed(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if made.Whole.Fingerprint != s.Shards[0].Manifest.Fingerprint || made.Whole.Fingerprint != live {
		t.Errorf("fingerprint %s, the snapshot has %s and the server %s", made.Whole.Fingerprint, s.Shards[0].Manifest.Fingerprint, live)
	}
	other := *s.Shards[0].Manifest
	other.SHA256, s.Shards[0].Manifest = "0", &other
	if _, err := w.Seed(t.Context(), job); !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "not what was stored") {
		t.Errorf("a file that is not the manifest's: %v", err)
	}
	other = *s.Shards[0].Manifest
	other.SHA256, other.Fingerprint = made.Whole.SHA256, "hf1:0"
	if _, err := w.Seed(t.Context(), job); err == nil || !strings.Contains(err.Error(), "is not what was read") {
		t.Errorf("entries that are not the manifest's: %v", err)
	}
}

func TestWhatAClusterCannotHoldIsNamed(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	arns := w.objects(t, rdbFile(t, 11, nil, append(names("a", 50), "3/lost", "4/gone")...))
	job := cache.SeedJob{Region: "here", ObjectARNs: arns, Build: w.server.Build.Name, Clustered: true, Parts: w.parts(2)}
	_, err := w.Seed(t.Context(), job)
	if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), `2 keys, among them "lost" in database 3, "gone" in database 4`) {
		t.Errorf("keys outside of database 0: %v", err)
	}
	for _, p := range job.Parts {
		if left, _ := filepath.Glob(p.Path + "*"); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	}
	job.Databases = 4
	_, err = w.Seed(t.Context(), job)
	if want := `databases 0 to 3 alone, after its parameter cluster-databases, and the data has keys in others: 1 key, among them "gone" in database 4`; !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), want) {
		t.Errorf("a cluster of four databases: %v", err)
	}
	job.Databases = 5
	if _, err := w.Seed(t.Context(), job); err != nil {
		t.Errorf("a cluster of five databases: %v", err)
	}
	all := 0
	for _, p := range job.Parts {
		keys, _ := held(t, p)
		all += len(keys)
	}
	if all != 52 {
		t.Errorf("the parts hold %d keys of 52", all)
	}
}

// What an engine does not read as it is is written anew, and what it cannot hold at
// all is listed to the last key.
func TestASeedIsWrittenAnewForAnOtherEngine(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-9.1"))
	w.server.Must("FLUSHALL")
	w.server.Must("SET", "plain", "text")
	w.server.Must("RPUSH", "list", "1", "two", "3")
	s := w.backup(t)
	job := cache.SeedJob{Region: "here", From: &s, Build: testkit.Engine(t, "redis-6.0").Name, Parts: part(filepath.Join(w.dir, "seed"))}
	made, err := w.Seed(t.Context(), job)
	if err != nil || made.Whole.Fingerprint != s.Shards[0].Manifest.Fingerprint {
		t.Fatalf("from Valkey 9 to Redis 6: %v", err)
	}
	b, err := os.ReadFile(job.Parts[0].Path)
	if err != nil || !bytes.HasPrefix(b, []byte("REDIS0009")) {
		t.Errorf("the file begins with %.9q: %v", b, err)
	}
	old := testkit.StartServer(t, testkit.Engine(t, "redis-6.0"), testkit.Config("dir "+w.dir, "dbfilename seed"))
	if err := w.Verify(t.Context(), cache.VerifyJob{Path: job.Parts[0].Path, Node: login(old)}); err != nil {
		t.Errorf("the old engine does not hold what it was given: %v", err)
	}

	w.server.Must("HSET", "h1", "f", "v")
	w.server.Must("HSET", "h2", "f", "v")
	for _, h := range []string{"h1", "h2"} {
		w.server.Must("HEXPIRE", h, "10000", "FIELDS", "1", "f")
	}
	s = w.backup(t)
	job.Parts = part(filepath.Join(w.dir, "never"))
	_, err = w.Seed(t.Context(), job)
	if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), "redis 6.0") || !strings.Contains(err.Error(), "does not hold field TTLs of hashes: 2 keys") {
		t.Errorf("fields that expire: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "never*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// A file that ends early leaves no part that could be taken for a whole one.
func TestADivisionOfABrokenFileLeavesNothing(t *testing.T) {
	w := newWorld(t, testkit.Engine(t, "valkey-8.1"))
	file := rdbFile(t, 11, nil, names("a", 5000)...)
	flipped := bytes.Clone(file)
	flipped[len(flipped)/2] ^= 4
	for name, broken := range map[string][]byte{"short": file[:len(file)-2000], "flipped": flipped, "none": nil} {
		t.Run(name, func(t *testing.T) {
			arns := w.objects(t, rdbFile(t, 11, nil, names("b", 5000)...), broken)
			job := cache.SeedJob{Region: "here", ObjectARNs: arns, Build: w.server.Build.Name, Clustered: true, Parts: w.parts(3)}
			if _, err := w.Seed(t.Context(), job); !errors.Is(err, cache.ErrPermanent) {
				t.Errorf("it was taken: %v", err)
			}
			for _, p := range job.Parts {
				if left, _ := filepath.Glob(p.Path + "*"); len(left) > 0 {
					t.Errorf("left over: %v", left)
				}
			}
		})
	}
}
