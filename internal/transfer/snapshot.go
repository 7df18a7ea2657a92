package transfer

import (
	"context"
	"fmt"
	"io"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// loginOptions is how a node is reached.
func loginOptions(l cache.Login) resp.Options {
	return resp.Options{Addr: hostPort(l.Address), Username: l.User, Password: l.Password, TLS: l.TLS}
}

// Snapshot writes the data of a node, as they are at one instant, to an object,
// and says what they are and how they were had.
func (m *Mover) Snapshot(ctx context.Context, job cache.SnapshotJob) (cache.Manifest, error) {
	build, err := m.Build(job.Build)
	if err != nil {
		return cache.Manifest{}, err
	}
	take := m.forked
	if job.Forkless {
		take = m.forkless
	}
	man, err := take(ctx, job)
	if err != nil {
		return cache.Manifest{}, err
	}
	man.Engine, man.Version = build.Engine, build.Version
	man.MethodReason, man.Memory, man.Consistency = job.Reason, job.Memory, cache.ConsistencyPoint
	return man, m.writeManifest(ctx, job.Object, man)
}

// forked joins the node as a replica: the node forks, and the child streams its
// file. The stream is stored as it comes; measured beside BGSAVE and a copy of its
// file it takes the same time and no disk of the node's.
func (m *Mover) forked(ctx context.Context, job cache.SnapshotJob) (cache.Manifest, error) {
	body, info, err := source.Snapshot(ctx, loginOptions(job.Node))
	if err != nil {
		return cache.Manifest{}, err
	}
	defer body.Close()
	if err := reached(&job, info.Offset); err != nil {
		return cache.Manifest{}, err
	}
	// It lives, so it was with it that the stream was agreed on.
	if err := sameRun(ctx, &job); err != nil {
		return cache.Manifest{}, err
	}
	man, err := m.store(ctx, body, job.Object, objects.PutOptions{})
	man.Method = cache.MethodForked
	man.ReplicationID, man.Offset = info.ReplID, info.Offset
	return man, err
}

// reached refuses a node that is not where it has to be in the replication stream.
func reached(job *cache.SnapshotJob, offset int64) error {
	if offset < job.MinOffset {
		return fmt.Errorf("the node is at offset %d of the replication stream and should have been at %d", offset, job.MinOffset)
	}
	return nil
}

// store reads a whole RDB file, writes it to an object of the snapshot store and
// says what it holds.
func (m *Mover) store(ctx context.Context, in io.Reader, object string, opt objects.PutOptions) (cache.Manifest, error) {
	w, err := m.Snapshots.Create(ctx, object, opt)
	if err != nil {
		return cache.Manifest{}, fmt.Errorf("cannot create %s: %w", object, err)
	}
	defer w.Abort()
	man, err := newPassage(in, w).examine(ctx, object)
	if err != nil {
		return cache.Manifest{}, err
	}
	if _, err := w.Commit(ctx); err != nil {
		return cache.Manifest{}, fmt.Errorf("cannot store %s: %w", object, err)
	}
	_, man.Sealed, _ = seal.Parse(object)
	return man, nil
}

// Copy copies the files of one snapshot to another and reads them all the while.
func (m *Mover) Copy(ctx context.Context, from, to cache.Snapshot) ([]cache.ShardSnapshot, error) {
	var out []cache.ShardSnapshot
	for _, shard := range from.Shards {
		copied, err := m.copyShard(ctx, shard, to)
		if err != nil {
			return nil, err
		}
		out = append(out, copied)
	}
	return out, nil
}

func (m *Mover) copyShard(ctx context.Context, shard cache.ShardSnapshot, to cache.Snapshot) (cache.ShardSnapshot, error) {
	in, _, err := m.Snapshots.Open(ctx, shard.Object, 0)
	if err != nil {
		return shard, missing(err)
	}
	defer in.Close()
	object := m.SnapshotObject(to, shard.NodeGroupID)
	man, err := m.store(ctx, in, object, objects.PutOptions{})
	if err != nil {
		return shard, err
	}
	if err := same(shard.Manifest, man); err != nil {
		return shard, err
	}
	full := *shard.Manifest
	full.Method, full.Seconds, full.Sealed = "copy", man.Seconds, man.Sealed
	shard.Object, shard.Manifest = object, &full
	return shard, m.writeManifest(ctx, object, full)
}

// Erase deletes the files of a snapshot. Files that are gone already are no error.
func (m *Mover) Erase(ctx context.Context, s cache.Snapshot) error {
	for info, err := range m.Snapshots.List(ctx, s.Region+"/"+s.Name+"/") {
		if err != nil {
			return fmt.Errorf("cannot list the files of snapshot %s: %w", s.Name, err)
		}
		if err := m.Snapshots.Delete(ctx, info.Key); err != nil {
			return fmt.Errorf("cannot delete %s: %w", info.Key, err)
		}
	}
	return nil
}
