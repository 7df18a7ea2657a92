package source

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"holdfast.dev/internal/resp"
)

// liveStats are the counters of commands that change keys and tell nobody.
type liveStats struct {
	swaps  int64 // SWAPDB, FLUSHDB, FLUSHALL
	resets int64 // CONFIG RESETSTAT, where it is counted by itself
	groups int64 // what changes consumer groups
	dumps  int64
	mine   int64 // of the dumps those that this attempt had answered by then
	// ranges and myRanges are the same of GETRANGE.
	ranges, myRanges int64
}

// silent are the commands on streams that send no invalidation, without XGROUP's
// subcommands. Blocked XREADGROUPs need no mention: they go on only with an XADD,
// of which is told.
var silent = map[string]bool{
	"xreadgroup": true, "xack": true, "xackdel": true, "xclaim": true, "xautoclaim": true,
	"xsetid": true, "xgroup": true, "xdelex": true, "xcfgset": true,
	// Vector sets, of which notifications tell nothing.
	"vadd": true, "vrem": true, "vsetattr": true,
}

func (a *liveAttempt) parseStats(info []byte) (liveStats, error) {
	s := liveStats{mine: a.dumps, myRanges: a.strings.answered}
	for name, value := range resp.InfoFields(info) {
		name, ok := strings.CutPrefix(name, "cmdstat_")
		if !ok {
			continue
		}
		num, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
		calls, err := strconv.ParseInt(num, 10, 64)
		if err != nil {
			return s, fmt.Errorf("cannot read INFO commandstats %q: %w", value, err)
		}
		command, _, _ := strings.Cut(name, "|")
		switch {
		case name == "swapdb" || name == "flushdb" || name == "flushall":
			s.swaps += calls
		case name == "config|resetstat":
			s.resets += calls
		case name == "dump":
			s.dumps += calls
		case name == "getrange":
			s.ranges += calls
		case silent[command]:
			s.groups += calls
		}
	}
	return s, nil
}

// check compares the counters with those at the beginning.
func (s liveStats) check(begin liveStats) error {
	switch {
	case s.swaps != begin.swaps:
		return restart("databases were swapped or emptied (SWAPDB, FLUSHDB, FLUSHALL) while they were read")
	case s.resets != begin.resets || s.dumps-begin.dumps < s.mine-begin.mine || s.ranges-begin.ranges < s.myRanges-begin.myRanges:
		return restart("the server's statistics were reset (CONFIG RESETSTAT) while it was read: whether databases were swapped cannot be known")
	}
	return nil
}

// stats asks for the counters.
func (a *liveAttempt) stats(ctx context.Context) (liveStats, error) {
	r, err := a.call(ctx, "INFO", "commandstats")
	if err != nil {
		return liveStats{}, fmt.Errorf("cannot ask for INFO commandstats: %w", err)
	}
	return a.parseStats(r.Bytes)
}

// identity is what must not change while a server is read: its run id and role.
func (a *liveAttempt) identity(ctx context.Context) (string, error) {
	var out []string
	for _, section := range []string{"server", "replication"} {
		r, err := a.call(ctx, "INFO", section)
		if err != nil {
			return "", fmt.Errorf("cannot ask for INFO %s: %w", section, err)
		}
		for name, value := range resp.InfoFields(r.Bytes) {
			if name == "run_id" || name == "role" {
				out = append(out, name+" "+value)
			}
		}
	}
	return strings.Join(out, ", "), nil
}

// verify tells whether everything read so far still counts.
func (a *liveAttempt) verify(ctx context.Context) error {
	if err := a.cap.lost(); err != nil || a.blind || a.cap.kind == CaptureReplica {
		return err
	}
	now, err := a.stats(ctx)
	if err != nil {
		return err
	}
	return now.check(a.begin)
}
