package sink

import (
	"fmt"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// versionOf is the newest RDB version that a server reads, which is also what
// it writes. A server newer than all known is taken for the newest known.
func versionOf(s resp.Server) int {
	type since struct{ major, minor, rdb int }
	var table []since
	switch s.Engine {
	case "valkey":
		table = []since{{9, 0, rdb.ValkeyVersion}, {7, 2, 11}}
	case "redict":
		table = []since{{7, 0, 11}}
	default:
		table = []since{{7, 4, 12}, {7, 2, 11}, {7, 0, 10}, {5, 0, 9}, {4, 0, 8}, {3, 2, 7}}
	}
	for _, t := range table {
		if s.Major > t.major || s.Major == t.major && s.Minor >= t.minor {
			return t.rdb
		}
	}
	return 6
}

// modulesVersion is the first RDB version whose engines answer the value of a
// module that they lack with an error; Redis 6 ends itself.
const modulesVersion = 10

// VersionOf is the RDB version of the files that a server writes itself.
func VersionOf(s resp.Server) int { return versionOf(s) }

// TargetOf is what NewServer takes a server to hold: what to ask of an entry
// before it is sent.
func TargetOf(s resp.Server) rdb.Target {
	version := versionOf(s)
	return rdb.Target{Version: version, Modules: version >= modulesVersion}
}

// translate returns an entry as a target reads it, in memory of the transcoder
// where it had to be written anew.
func translate(tr *rdb.Transcoder, e *flow.Entry) (flow.Entry, error) {
	out := *e
	var err error
	out.Type, out.Value, err = tr.Transcode(e.Type, e.Version, e.Value)
	out.Version = tr.Target().Version
	return out, err
}

// firstOwnType is the first type byte that Redis and Valkey use differently.
const firstOwnType = rdb.TypeHash2

// oldest is the lowest RDB version that has the entry's type, for a payload
// whose reader is not known: engines accept versions older than their own.
func oldest(e *flow.Entry) int {
	if e.Type >= firstOwnType {
		return e.Version
	}
	// Redis 5 is the first that takes RESTORE with an absolute expiry.
	for v := 9; v < e.Version; v++ {
		if rdb.Supports(v, e.Type) {
			return v
		}
	}
	return e.Version
}

// plainString returns the content of a string that is held uncompressed and not
// as a number, and whether the entry is such a string.
func plainString(e *flow.Entry) ([]byte, bool) {
	if e.Type != rdb.TypeString || len(e.Value) == 0 {
		return nil, false
	}
	v := e.Value
	switch v[0] >> 6 {
	case 0:
		n := int(v[0] & 0x3f)
		return v[1:], len(v) == 1+n
	case 1:
		if len(v) < 2 {
			return nil, false
		}
		n := int(v[0]&0x3f)<<8 | int(v[1])
		return v[2:], len(v) == 2+n
	case 2:
		if v[0] != 0x80 || len(v) < 5 {
			return nil, false
		}
		n := int(v[1])<<24 | int(v[2])<<16 | int(v[3])<<8 | int(v[4])
		return v[5:], len(v) == 5+n
	}
	return nil, false
}

func keyError(what string, e *flow.Entry, err error) error {
	return fmt.Errorf("cannot %s key %q of database %d: %w", what, e.Key, e.DB, err)
}
