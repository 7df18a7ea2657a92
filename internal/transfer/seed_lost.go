package transfer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/rdb"
)

// leftovers are the keys that have no place where they are to go. They are counted
// to the last, so that all that speaks against a restore is said at once.
type leftovers struct {
	build Build
	// databases is how many a cluster has; 0 is for one.
	databases int
	mu        sync.Mutex
	// kinds of loss, by what the target cannot hold.
	kinds  map[string]*named
	strays named
}

// named is a count with the names of the first few.
type named struct {
	n     int64
	names []string
}

func (n *named) add(e *rdb.Entry) {
	n.n++
	if len(n.names) < maxNamed {
		n.names = append(n.names, fmt.Sprintf("%q in database %d", e.Key, e.DB))
	}
}

func (n *named) String() string {
	keys := "keys"
	if n.n == 1 {
		keys = "key"
	}
	return fmt.Sprintf("%d %s, among them %s", n.n, keys, strings.Join(n.names, ", "))
}

// stray counts a key of a database that a cluster has not.
func (l *leftovers) stray(e *rdb.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strays.add(e)
}

// cannot counts a key that the target does not hold.
func (l *leftovers) cannot(lost *rdb.LossError, e *rdb.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what := string(lost.What)
	if lost.Detail != "" {
		what += " (" + lost.Detail + ")"
	}
	l.kind(what).add(e)
}

func (l *leftovers) kind(what string) *named {
	if l.kinds == nil {
		l.kinds = map[string]*named{}
	}
	if l.kinds[what] == nil {
		l.kinds[what] = &named{}
	}
	return l.kinds[what]
}

// moduleAux counts data of a module that belongs to no key, and so to no shard.
func (l *leftovers) moduleAux([]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kind(string(rdb.LossModuleAux))
	k.n++
	k.names = []string{"data that belong to no key"}
}

// verdict is the refusal, nil if nothing was left over.
func (l *leftovers) verdict() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var why []string
	if l.strays.n > 0 {
		has := "a group in cluster mode has database 0 alone"
		if l.databases > 1 {
			has = fmt.Sprintf("the group has databases 0 to %d alone, after its parameter %s", l.databases-1, cache.ParamClusterDatabases)
		}
		why = append(why, fmt.Sprintf("%s, and the data has keys in others: %s", has, &l.strays))
	}
	for _, what := range slices.Sorted(maps.Keys(l.kinds)) {
		why = append(why, fmt.Sprintf("%s %s does not hold %s: %s", l.build.Engine, l.build.Version, what, l.kinds[what]))
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", strings.Join(why, "; "), cache.ErrPermanent)
}
