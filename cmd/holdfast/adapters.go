package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/objects"
)

// newLogger writes for a person on a terminal, and JSON for a machine elsewhere.
func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != ""}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// catalogue shows the installed engines to control.
type catalogue struct{ *catalog.Catalog }

// Resolve says in ElastiCache's words what cannot be served, and in ours why.
func (c catalogue) Resolve(engine, version string) (control.Choice, error) {
	v, err := c.Catalog.Resolve(engine, version)
	if errors.Is(err, catalog.ErrUnknown) {
		return control.Choice{}, cache.Faultf("InvalidParameterCombination", "Cannot find version %s for %s: %v", version, engine, err)
	}
	if err != nil {
		return control.Choice{}, cache.Faultf("InvalidParameterCombination", "%v", err)
	}
	return choice(v), nil
}

// Versions are all that can be served.
func (c catalogue) Versions() []control.Version {
	var out []control.Version
	for _, v := range c.Catalog.Versions() {
		out = append(out, control.Version{Engine: v.Engine, Description: v.Description(), Choice: choice(v)})
	}
	return out
}

func choice(v catalog.Version) control.Choice {
	return control.Choice{
		Asked: v.Version, Build: v.Build.Name, FullVersion: v.Build.Version, Exact: v.Exact, Family: v.Family, Lacks: v.Lacks,
	}
}

// bucketLooker shows the buckets to control.
type bucketLooker struct{ objects.Buckets }

// Check tells whether a bucket can be used from a region.
func (b bucketLooker) Check(ctx context.Context, region, bucket string) error {
	_, err := b.Open(ctx, region, bucket)
	return lookError(err)
}

// Granted tells whether a bucket lets ElastiCache write exports to it.
func (b bucketLooker) Granted(ctx context.Context, region, bucket string) error {
	a, err := b.Access(ctx, region, bucket, cache.CanonicalUser(region))
	switch {
	case err != nil:
		return lookError(err)
	case !a.Owned:
		return control.ErrNotOwner
	case !a.Read:
		return control.ErrNoRead
	case !a.Write:
		return control.ErrNoWrite
	case !a.ReadACP:
		return control.ErrNoReadACP
	}
	return nil
}

// Size of an object in bytes.
func (b bucketLooker) Size(ctx context.Context, region, bucket, key string) (int64, error) {
	s, err := b.Open(ctx, region, bucket)
	if err != nil {
		return 0, lookError(err)
	}
	info, err := s.Stat(ctx, key)
	return info.Size, lookError(err)
}

// Exists tells whether there is an object.
func (b bucketLooker) Exists(ctx context.Context, region, bucket, key string) (bool, error) {
	_, err := b.Size(ctx, region, bucket, key)
	if errors.Is(err, control.ErrNoObject) {
		return false, nil
	}
	return err == nil, err
}

func lookError(err error) error {
	for theirs, ours := range map[error]error{
		objects.ErrNoSuchBucket: control.ErrNoBucket,
		objects.ErrWrongRegion:  control.ErrOtherRegion,
		objects.ErrAccessDenied: control.ErrDenied,
		objects.ErrNotExist:     control.ErrNoObject,
		objects.ErrBadKey:       control.ErrNoObject,
	} {
		if errors.Is(err, theirs) {
			return fmt.Errorf("%w: %w", ours, err)
		}
	}
	return err
}

// loopback is what this machine has to give in addresses.
func loopback() control.Addresses {
	return control.Addresses{
		// Linux answers on all of 127.0.0.0/8; elsewhere only 127.0.0.1 is there.
		Range: runtime.GOOS == "linux",
		Free: func(host string, port int) bool {
			ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			return err == nil && ln.Close() == nil
		},
	}
}
