package engine

import (
	"fmt"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
)

// version is major, minor, patch.
type version [3]int

func parseVersion(s string) (version, error) {
	var v version
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return v, fmt.Errorf("cannot read engine version %q: want major.minor.patch", s)
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return v, fmt.Errorf("cannot read engine version %q: want major.minor.patch", s)
		}
		v[i] = n
	}
	return v, nil
}

func (v version) less(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

// since says from which version on an engine has something. Valkey began as
// Redis 7.2, so what Redis had by then every Valkey has.
type since struct {
	redis, valkey version
}

// never is later than every version.
var never = version{1 << 30}

// The points at which the engines gained what the tables refer to.
var (
	always   = since{}
	since62  = since{redis: version{6, 2}}
	since70  = since{redis: version{7, 0}}
	since72  = since{redis: version{7, 2}}
	valkey8  = since{redis: never, valkey: version{8, 0}}
	valkey81 = since{redis: never, valkey: version{8, 1}}
	valkey9  = since{redis: never, valkey: version{9, 0}}
)

// dialect is one build as the tables see it.
type dialect struct {
	engine string
	version
}

func (d dialect) has(s since) bool {
	if d.engine == cache.Valkey {
		return !d.less(s.valkey)
	}
	return !d.less(s.redis)
}

// canRebind: CONFIG SET bind.
func (d dialect) canRebind() bool { return d.has(since70) }
