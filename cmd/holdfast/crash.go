package main

import (
	"context"
	"os"
	"strings"
	"syscall"

	"holdfast.dev/internal/objects"
)

// crashAt names the one place, "<creating|writing|committing|committed> <end of a
// key>", at which the process kills itself as a power cut would while it stores an
// object. Crash tests set it; see CONTRIBUTING.md.
var crashAt = os.Getenv("HOLDFAST_CRASH_AT")

func failpoint(place, key string) {
	at, end, ok := strings.Cut(crashAt, " ")
	if ok && at == place && strings.HasSuffix(key, end) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing is left to tell if it fails
		select {}                                      // never go on past the point
	}
}

// crashing puts the failpoints around a store, where there is one to reach.
func crashing(s objects.Store) objects.Store {
	if crashAt == "" {
		return s
	}
	return crashStore{s}
}

// crashingBuckets does so for the stores of buckets.
func crashingBuckets(b objects.Buckets) objects.Buckets {
	if crashAt == "" {
		return b
	}
	return crashBuckets{b}
}

type crashBuckets struct{ objects.Buckets }

func (b crashBuckets) Open(ctx context.Context, region, bucket string) (objects.Store, error) {
	s, err := b.Buckets.Open(ctx, region, bucket)
	if err != nil {
		return nil, err
	}
	if a, ok := s.(objects.Abandoner); ok {
		return crashAbandoner{crashStore{s}, a}, nil
	}
	return crashStore{s}, nil
}

// crashAbandoner is a store that keeps what dead writers have uploaded.
type crashAbandoner struct {
	crashStore
	objects.Abandoner
}

type crashStore struct{ objects.Store }

func (s crashStore) Create(ctx context.Context, key string, opt objects.PutOptions) (objects.Writer, error) {
	failpoint("creating", key)
	w, err := s.Store.Create(ctx, key, opt)
	if err != nil {
		return nil, err
	}
	return crashWriter{w, key}, nil
}

type crashWriter struct {
	objects.Writer
	key string
}

func (w crashWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	failpoint("writing", w.key)
	return n, err
}

func (w crashWriter) Commit(ctx context.Context) (objects.Info, error) {
	failpoint("committing", w.key)
	info, err := w.Writer.Commit(ctx)
	failpoint("committed", w.key)
	return info, err
}
