package rdb

import (
	"errors"
	"fmt"
)

// What can be wrong with an RDB file or a DUMP payload; found in an *Error by errors.Is.
var (
	// ErrTruncated: the input ends before the format does.
	ErrTruncated = errors.New("input is truncated")
	// ErrChecksum: the content does not have the CRC64 that its end states.
	ErrChecksum = errors.New("checksum does not match")
	// ErrVersion: the format's version is not one that is read here.
	ErrVersion = errors.New("unsupported RDB version")
	// ErrType: a type byte or opcode that the version does not have, or that cannot be read.
	ErrType = errors.New("unsupported value type")
	// ErrCorrupt: the bytes break the rules of the format.
	ErrCorrupt = errors.New("corrupt data")
	// ErrMagic: the input is no RDB file at all.
	ErrMagic = errors.New("not an RDB file")
)

// Error is what reading fails with.
type Error struct {
	// Offset is where it went wrong: bytes from the beginning of the file, of
	// the payload or, when decoding, of the value.
	Offset int64
	// Msg says what was being read or what is wrong with it.
	Msg string
	// Err is one of this package's sentinels or the underlying reader's error.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("cannot read RDB data at byte %d: %s: %v", e.Offset, e.Msg, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// VersionError names a version that is not read here; it is an ErrVersion.
type VersionError struct{ Header Header }

func (e *VersionError) Error() string {
	return fmt.Sprintf("%v %s; REDIS0001 to REDIS%04d and VALKEY%03d are read",
		ErrVersion, e.Header, MaxRedisVersion, ValkeyVersion)
}

func (e *VersionError) Unwrap() error { return ErrVersion }
