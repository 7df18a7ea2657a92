package source_test

import (
	"testing"

	"holdfast.dev/internal/source"
	"holdfast.dev/internal/testkit"
)

// Where the source does not tell that databases were swapped, no key is said to be
// as it was: what was marked is all of them.
func TestFollowMarksAllWhereSwapsAreNotTold(t *testing.T) {
	src := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	dst := testkit.StartServer(t, testkit.Engine(t, "redis-7.0"))
	src.Must("ACL", "SETUSER", "mover", "on", ">pw", "~*", "&*", "+@all", "-info")
	src.Must("SET", "a", "1")
	opt := at(src)
	opt.Username, opt.Password = "mover", "pw"
	r := followAt(t, opt, src, dst, source.FollowOptions{Road: source.RoadCommands}, source.LiveRules{})
	r.following()
	if _, all := r.f.Remark(); !all {
		t.Error("not all keys may have changed before anybody looked")
	}
	src.Must("SWAPDB", "0", "1")
	r.drained()
	if keys, all := r.f.Remark(); !all {
		t.Errorf("%d keys are said to be all that changed, and the databases were swapped", len(keys))
	}
}
