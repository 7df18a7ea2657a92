package transfer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/source"
)

// Import takes the files that wait for a snapshot into the snapshot store. Each must
// hold what whoever left it there has said.
func (m *Mover) Import(ctx context.Context, s cache.Snapshot) ([]cache.ShardSnapshot, error) {
	out := make([]cache.ShardSnapshot, 0, len(s.Import.Files))
	for i := range s.Import.Files {
		shard, err := m.importFile(ctx, &s, &s.Import.Files[i])
		if err != nil {
			return nil, err
		}
		out = append(out, shard)
	}
	return out, nil
}

func (m *Mover) staged(s *cache.Snapshot) string {
	return filepath.Join(m.Incoming, s.Region, s.Import.Staged)
}

func (m *Mover) importFile(ctx context.Context, s *cache.Snapshot, f *cache.ImportFile) (cache.ShardSnapshot, error) {
	in, err := os.Open(filepath.Join(m.staged(s), f.Name))
	if err != nil {
		return cache.ShardSnapshot{}, missing(fmt.Errorf("cannot read what is to be imported: %w", err))
	}
	closing := source.CloseOnDone(ctx, in)
	defer closing.Close()
	shard := cache.ShardSnapshot{NodeGroupID: f.NodeGroupID, Slots: f.Slots, TakenAt: f.TakenAt, Object: m.SnapshotObject(*s, f.NodeGroupID)}
	man, err := m.store(ctx, closing, shard.Object, objects.PutOptions{})
	if err != nil {
		return shard, err
	}
	if man.Fingerprint != f.Fingerprint || man.Bytes != f.Bytes {
		return shard, fmt.Errorf("%s holds %d bytes with fingerprint %s, and %d bytes with fingerprint %s were left there: %w",
			f.Name, man.Bytes, man.Fingerprint, f.Bytes, f.Fingerprint, cache.ErrPermanent)
	}
	man.Method, man.MethodReason, man.Consistency = f.Method, "imported", f.Consistency
	man.ReplicationID, man.Offset = f.ReplicationID, f.Offset
	shard.Manifest = &man
	return shard, m.writeManifest(ctx, shard.Object, man)
}

// Unstage deletes the files that waited for a snapshot.
func (m *Mover) Unstage(ctx context.Context, s cache.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.RemoveAll(m.staged(&s))
}
