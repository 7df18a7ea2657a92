package control

import (
	"context"
	"errors"
)

// Choice is what the catalogue says will serve an asked version.
type Choice struct {
	// Asked is the version in the API's spelling: "7.0", "5.0.6".
	Asked string
	// Build names the installed engine: "redis-7.0.15".
	Build string
	// FullVersion of the build: "7.0.15".
	FullVersion string
	// Exact tells that the build is of the asked version and not a newer stand-in.
	Exact bool
	// Family is the parameter group family of the asked version: "redis7".
	Family string
	// Lacks names what ElastiCache's own build has and this one has not.
	Lacks []string
}

// Version is an engine version that can be served.
type Version struct {
	Engine string
	Choice
	// Description for people: "redis version 7.0.15"; may be empty.
	Description string
}

// Catalogue knows the installed engines.
type Catalogue interface {
	// Resolve finds what serves a version: "" is the newest of the engine, "6.x"
	// the newest 6. The error says why it cannot be served and what is installed;
	// its text is shown to the caller.
	Resolve(engine, version string) (Choice, error)
	// Versions are all versions that can be served, oldest first within an engine.
	Versions() []Version
}

// What Buckets says of a bucket or an object; told apart with errors.Is.
var (
	ErrNoBucket    = errors.New("there is no such bucket")
	ErrOtherRegion = errors.New("the bucket is in another region")
	ErrNotOwner    = errors.New("the bucket belongs to somebody else")
	ErrDenied      = errors.New("access to the bucket is denied")
	ErrNoObject    = errors.New("there is no such object")

	// What the access control list of a bucket does not grant ElastiCache.
	ErrNoRead    = errors.New("the bucket does not let ElastiCache list it")
	ErrNoWrite   = errors.New("the bucket does not let ElastiCache write to it")
	ErrNoReadACP = errors.New("the bucket does not let ElastiCache read its access control list")
)

// Buckets looks into object storage.
type Buckets interface {
	// Check tells whether a bucket can be used from a region: nil, or an error
	// that wraps one of those above.
	Check(ctx context.Context, region, bucket string) error
	// Granted tells whether a bucket that Check has passed is the caller's and grants
	// ElastiCache what an export needs: nil, or an error that wraps ErrNotOwner or the
	// first missing of ErrNoRead, ErrNoWrite and ErrNoReadACP.
	Granted(ctx context.Context, region, bucket string) error
	// Size of an object in bytes, or an error that wraps ErrNoObject.
	Size(ctx context.Context, region, bucket, key string) (int64, error)
	// Exists tells whether there is an object.
	Exists(ctx context.Context, region, bucket, key string) (bool, error)
}

// Memory knows the machine.
type Memory interface {
	// Available is how many bytes are really free.
	Available() int64
	// Total is how many bytes the machine has.
	Total() int64
}
