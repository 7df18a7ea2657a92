package transfer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
	"holdfast.dev/internal/testkit"
)

// sealedBackup is a world that seals, and a snapshot that is sealed with a key.
func sealedBackup(t *testing.T) (w *world, s cache.Snapshot, stored objects.Store, keys string) {
	t.Helper()
	w = newWorld(t, testkit.Engine(t, "valkey-8.1"))
	keys, stored = filepath.Join(w.dir, "keys"), w.Snapshots
	w.Snapshots = seal.New(stored, seal.NewKeyring(keys))
	s = cache.Snapshot{Region: "here", Name: "s", Settings: cache.Settings{AtRestEncryption: true, KmsKeyID: "alias/mine"}}
	object := w.SnapshotObject(s, "0001")
	man, err := w.Snapshot(t.Context(), cache.SnapshotJob{Region: "here", Object: object, Node: login(w.server), Build: w.server.Build.Name})
	if err != nil {
		t.Fatal(err)
	}
	s.Shards = []cache.ShardSnapshot{{NodeGroupID: "0001", Object: object, Manifest: &man}}
	return w, s, stored, keys
}

func TestASealedSnapshotIsReadByAllThatReadSnapshots(t *testing.T) {
	w, s, stored, _ := sealedBackup(t)
	m := s.Shards[0].Manifest
	if live := w.live(t); m.Fingerprint != live || m.Sealed != "alias/mine" {
		t.Errorf("the snapshot has fingerprint %s and is sealed with %q, the node has %s", m.Fingerprint, m.Sealed, live)
	}
	plain := read(t, w.Snapshots, s.Shards[0].Object)
	if raw := read(t, stored, s.Shards[0].Object); bytes.Contains(raw, plain[100:200]) || !bytes.HasPrefix(plain, []byte("REDIS")) && !bytes.HasPrefix(plain, []byte("VALKEY")) {
		t.Error("the file is not sealed")
	}
	if !bytes.Contains(read(t, w.Snapshots, "here/s/0001.json"), []byte(`"Sealed": "alias/mine"`)) {
		t.Error("the manifest does not name the key")
	}
	if err := w.Export(t.Context(), s, cache.Export{TargetName: "e", Bucket: "b"}); err != nil || !bytes.Equal(read(t, w.bucket, "e-0001.rdb"), plain) {
		t.Errorf("the exported file is not the plain one: %v", err)
	}
	seeded, err := w.Seed(t.Context(), cache.SeedJob{
		Region: "here", From: &s, Build: w.server.Build.Name, Parts: []cache.SeedPart{{NodeGroupID: "0001", Path: filepath.Join(w.dir, "seed")}},
	})
	if err != nil || seeded.Whole.SHA256 != m.SHA256 {
		t.Errorf("a node is not seeded with it: %v", err)
	}
	for _, to := range []cache.Snapshot{
		{Region: "here", Name: "open"},
		{Region: "here", Name: "other", Settings: cache.Settings{KmsKeyID: "alias/other"}},
		{Region: "here", Name: "default", Settings: cache.Settings{AtRestEncryption: true}},
	} {
		shards, err := w.Copy(t.Context(), s, to)
		if err != nil || shards[0].Manifest.Sealed != to.SealKey() || !bytes.Equal(read(t, w.Snapshots, shards[0].Object), plain) {
			t.Errorf("the copy %s: %v, %+v", to.Name, err, shards)
			continue
		}
		if again, err := w.Copy(t.Context(), cache.Snapshot{Region: "here", Name: to.Name, Shards: shards}, s); err != nil || again[0].Manifest.Sealed != "alias/mine" {
			t.Errorf("the copy %s copied back: %v, %+v", to.Name, err, again)
		}
		if err := w.Erase(t.Context(), to); err != nil {
			t.Error(err)
		}
	}
	if err := w.Erase(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.wantNoFiles(t)
}

func TestWhatCannotBeUnsealedIsNotTriedAgain(t *testing.T) {
	w, s, stored, keys := sealedBackup(t)
	use := func(what, says string) {
		t.Helper()
		_, copied := w.Copy(t.Context(), s, cache.Snapshot{Region: "here", Name: "copy"})
		_, seeded := w.Seed(t.Context(), cache.SeedJob{
			Region: "here", From: &s, Build: w.server.Build.Name, Parts: []cache.SeedPart{{NodeGroupID: "0001", Path: filepath.Join(w.dir, "seed")}},
		})
		for road, err := range map[string]error{
			"copy": copied, "seed": seeded, "export": w.Export(t.Context(), s, cache.Export{TargetName: "e", Bucket: "b"}),
		} {
			if !errors.Is(err, cache.ErrPermanent) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s, %s: %v", what, road, err)
			}
		}
	}
	rotten := read(t, stored, s.Shards[0].Object)
	whole := bytes.Clone(rotten)
	rotten[len(rotten)/2] ^= 1
	put(t, stored, s.Shards[0].Object, rotten)
	use("damaged", "damaged")
	put(t, stored, s.Shards[0].Object, whole)
	if err := os.Remove(filepath.Join(keys, "here", "alias%2Fmine.json")); err != nil {
		t.Fatal(err)
	}
	use("without its key", "alias/mine of region here")
}
