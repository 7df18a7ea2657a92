package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"holdfast.dev/internal/authority"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/engine/memcached"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/proc"
	"holdfast.dev/internal/store"
	"holdfast.dev/internal/transfer"
)

// installation is what the service and the commands beside it have in common:
// the records of a data directory and the hands to work on what they speak of.
// It is held by one process at a time.
type installation struct {
	dir        dataDir
	log        *slog.Logger
	catalog    *catalog.Catalog
	db         *store.DB
	supervisor *proc.Supervisor
	engines    *engine.Engines
	memcacheds *memcached.Nodes
	snapshots  objects.Store
	authority  *authority.Authority
}

func openInstallation(ctx context.Context, dir dataDir, log *slog.Logger) (_ *installation, err error) {
	in := &installation{dir: dir, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	if in.db, err = store.Open(ctx, dir.database()); err != nil {
		return nil, err
	}
	if in.catalog, err = catalog.Scan(ctx); err != nil {
		return nil, err
	}
	for _, p := range in.catalog.Problems() {
		log.Warn("an installed engine cannot be used", "error", p)
	}
	if in.snapshots, err = dir.openSnapshots(); err != nil {
		return nil, err
	}
	in.supervisor, err = proc.New(proc.Options{Dir: filepath.Join(string(dir), "run"), Logger: log})
	if err != nil {
		return nil, err
	}
	if in.authority, err = authority.Open(dir.authority(), time.Now); err != nil {
		return nil, err
	}
	in.engines = engine.New(engine.Config{
		DataDir: string(dir), Supervisor: in.supervisor, Catalog: in.catalog, Log: log, Authority: in.authority,
	})
	in.memcacheds = memcached.New(memcached.Config{
		DataDir: string(dir), MemoryDir: dir.memoryDir(), Supervisor: in.supervisor, Catalog: in.catalog, Log: log,
	})
	return in, nil
}

// close lets go of everything and leaves the engines running.
func (in *installation) close() error {
	var errs []error
	if in.engines != nil {
		errs = append(errs, in.engines.Close())
	}
	if in.supervisor != nil {
		errs = append(errs, in.supervisor.Close())
	}
	if in.db != nil {
		errs = append(errs, in.db.Close())
	}
	return errors.Join(errs...)
}

// mover moves data between nodes, snapshots and the given buckets.
func (in *installation) mover(buckets objects.Buckets) *transfer.Mover {
	return transfer.New(transfer.Config{Snapshots: crashing(in.snapshots), Incoming: in.dir.incoming(), Buckets: crashingBuckets(buckets), Spool: string(in.dir), Build: in.transferBuild})
}

// transferBuild describes an engine to the mover.
func (in *installation) transferBuild(name string) (transfer.Build, error) {
	b, ok := in.catalog.Build(name)
	if !ok {
		return transfer.Build{}, fmt.Errorf("the engine %s is not installed any more; scripts/engines installs engines", name)
	}
	return transfer.Build{Engine: b.Engine, Version: b.Version, Reads: b.Reads}, nil
}
