package objects

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// What can be wrong with a bucket or a key. ErrNotExist and ErrExist are those of
// io/fs, so that code which reads files and code which reads objects look alike.
var (
	ErrNotExist     = fs.ErrNotExist
	ErrExist        = fs.ErrExist
	ErrNoSuchBucket = errors.New("the bucket does not exist")
	ErrWrongRegion  = errors.New("the bucket is in another region")
	ErrAccessDenied = errors.New("access denied")
	ErrNoSpace      = errors.New("no space left")
	ErrBadKey       = errors.New("the key cannot be used")
	// ErrChanged means that the object was replaced while it was being read.
	ErrChanged = errors.New("the object changed while it was read")
)

// RegionError says where a bucket really is. It matches ErrWrongRegion.
type RegionError struct {
	Bucket string
	// Want is the region that was asked for, Region the bucket's own; Region is
	// empty when the service did not tell.
	Want, Region string
}

func (e *RegionError) Error() string {
	if e.Region == "" {
		return fmt.Sprintf("bucket %s is not in %s", e.Bucket, e.Want)
	}
	return fmt.Sprintf("bucket %s is in %s, not in %s", e.Bucket, e.Region, e.Want)
}

// Is makes errors.Is(err, ErrWrongRegion) true.
func (e *RegionError) Is(target error) bool { return target == ErrWrongRegion }

// joinAbort aborts w because of err and returns err, with the abort's own error
// joined when it failed too.
func joinAbort(err error, w Writer) error {
	if aerr := w.Abort(); aerr != nil {
		return errors.Join(err, aerr)
	}
	return err
}

const maxKeyBytes = 1024

// checkKey accepts what both kinds of store can hold: 1 to 1024 bytes, no empty,
// "." or ".." segment, no NUL. The embedded S3 service keeps objects as files, so
// the rules of file names bind it too.
func checkKey(key string) error {
	if key == "" || len(key) > maxKeyBytes || strings.ContainsRune(key, 0) {
		return fmt.Errorf("key %q: %w", key, ErrBadKey)
	}
	for seg := range strings.SplitSeq(key, "/") {
		if seg == "" || seg == "." || seg == ".." || len(seg) > 255 {
			return fmt.Errorf("key %q: segment %q: %w", key, seg, ErrBadKey)
		}
	}
	return nil
}
