package transfer

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
	"holdfast.dev/internal/rdb"
)

// classify marks errors that trying again cannot cure.
func classify(err error) error {
	for _, hopeless := range []error{
		rdb.ErrTruncated, rdb.ErrChecksum, rdb.ErrVersion, rdb.ErrType, rdb.ErrCorrupt, rdb.ErrMagic,
		objects.ErrNoSuchBucket, objects.ErrWrongRegion, objects.ErrAccessDenied, objects.ErrBadKey,
		seal.ErrNoKey, seal.ErrWrongKey, seal.ErrDamaged, ErrRotten,
	} {
		if errors.Is(err, hopeless) {
			return fmt.Errorf("%w: %w", err, cache.ErrPermanent)
		}
	}
	return err
}

// missing marks the absence of a file that should be there.
func missing(err error) error {
	if errors.Is(err, objects.ErrNotExist) {
		return fmt.Errorf("%w: %w", err, cache.ErrPermanent)
	}
	return classify(err)
}

// same tells whether a file still holds what its manifest says.
func same(want *cache.Manifest, got cache.Manifest) error {
	switch {
	case want == nil:
		return fmt.Errorf("the snapshot has no manifest: %w", cache.ErrPermanent)
	case want.SHA256 != got.SHA256 || want.Fingerprint != got.Fingerprint:
		return fmt.Errorf("the file is not what was stored: it holds %d keys with fingerprint %s, its manifest says %d keys with fingerprint %s: %w",
			got.Keys, got.Fingerprint, want.Keys, want.Fingerprint, cache.ErrPermanent)
	}
	return nil
}

func hostPort(a cache.Address) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }
