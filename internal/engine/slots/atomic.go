package slots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast.dev/internal/cache"
)

const (
	// jobBytes of memory go with one job of the engine, which forks for each: more jobs
	// cost more forks, and larger ones keep more writes waiting at the source.
	jobBytes = 1 << 30
	jobSlots = 4096
	// mostJobs is how often a job that failed is ordered again.
	mostJobs = 5
)

// job is a migration of slots as the engine tells of it.
type job struct {
	name, state, message string
	target               string
	export               bool
	slots                cache.Slots
}

func (j job) over() bool {
	return j.state == "success" || j.state == "failed" || j.state == "cancelled"
}

// jobs asks the source for those that it knows, old ones too.
func (p *peer) jobs(ctx context.Context) ([]job, error) {
	reply, err := p.c.Do(ctx, "CLUSTER", "GETSLOTMIGRATIONS")
	if err != nil {
		return nil, err
	}
	out := make([]job, len(reply.Elems))
	for i := range reply.Elems {
		e := reply.Elems[i].Elems
		for j := 0; j+1 < len(e); j += 2 {
			text := string(e[j+1].Bytes)
			switch string(e[j].Bytes) {
			case "name":
				out[i].name = text
			case "state":
				out[i].state = text
			case "message":
				out[i].message = text
			case "target_node":
				out[i].target = text
			case "operation":
				out[i].export = text == "EXPORT"
			case "slot_ranges":
				if out[i].slots, err = cache.ParseSlots(strings.Join(strings.Fields(text), ",")); err != nil {
					return nil, fmt.Errorf("the engine's migration has no slots: %w", err)
				}
			}
		}
	}
	return out, nil
}

// moveWhole moves slots by the engine's own jobs.
func (r *run) moveWhole(ctx context.Context, f found) error {
	if err := r.await(ctx); err != nil {
		return err
	}
	// What the jobs of an earlier attempt moved meanwhile is the target's by now.
	f, err := r.sort(ctx)
	if err != nil {
		return err
	}
	if err := r.agreed(ctx, f.given); err != nil {
		return err
	}
	if err := r.moveKeywise(ctx, append(f.open, f.turned...)); err != nil {
		return err
	}
	size, err := r.perSlot(ctx)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(f.rest, int(min(max(jobBytes/size, 1), jobSlots))) {
		if err := r.moveJob(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// perSlot is about how much memory a slot of the source takes.
func (r *run) perSlot(ctx context.Context) (int64, error) {
	v, err := r.src.look(ctx)
	if err != nil {
		return 0, err
	}
	n := int64(0)
	for slot := range v.owner {
		if v.owns(slot) {
			n++
		}
	}
	reply, err := r.src.c.Do(ctx, "INFO", "memory")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(reply.Bytes)) {
		if text, ok := strings.CutPrefix(line, "used_memory_dataset:"); ok {
			used, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("INFO makes no sense: %w", err)
			}
			return used/max(n, 1) + 1, nil
		}
	}
	return 1, nil
}

// moveJob orders one job until it succeeds.
func (r *run) moveJob(ctx context.Context, slots []int) error {
	counts, err := r.src.count(ctx, slots)
	if err != nil {
		return err
	}
	var failed error
	for range mostJobs {
		old, err := r.src.jobs(ctx)
		if err != nil {
			return err
		}
		err = r.src.do(ctx, orderJob(slots, r.dst.ID)...)
		if err != nil {
			return fmt.Errorf("%s refuses to migrate slots: %w", r.src.At.Addr, err)
		}
		if err := r.at("ordered"); err != nil {
			return err
		}
		if failed = r.awaitJob(ctx, slots, old); failed == nil {
			for _, n := range counts {
				r.progress.Keys += int64(n)
			}
			return r.agreed(ctx, slots)
		}
		if !errors.Is(failed, errJob) {
			return failed
		}
		if strings.Contains(failed.Error(), "OOM") {
			return fmt.Errorf("cannot move slots to %s: %w: %w", r.dst.At.Addr, ErrNoRoom, failed)
		}
		if _, err := r.sort(ctx); err != nil { // one of the two may have been replaced
			return err
		}
		if err := pause(ctx, slowTick); err != nil {
			return err
		}
	}
	return failed
}

func orderJob(slots []int, target string) []string {
	cmd := []string{"CLUSTER", "MIGRATESLOTS", "SLOTSRANGE"}
	for _, g := range cache.SlotsOf(slots...) {
		cmd = append(cmd, strconv.Itoa(g.First), strconv.Itoa(g.Last))
	}
	return append(cmd, "NODE", target)
}

var errJob = errors.New("the engine's migration of slots failed")

// awaitJob waits for the job that exports these slots and is not among those of before.
func (r *run) awaitJob(ctx context.Context, slots []int, old []job) error {
	want := cache.SlotsOf(slots...)
	for wait := tick; ; wait = min(2*wait, slowTick) {
		all, err := r.src.jobs(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(j job) bool {
			known := slices.ContainsFunc(old, func(o job) bool { return o.name == j.name })
			return j.export && !known && j.slots.Common(want) > 0
		})
		if i < 0 {
			return fmt.Errorf("%w: %s does not know of it any more", errJob, r.src.At.Addr)
		}
		j := all[i]
		switch {
		case j.state == "success":
			return nil
		case j.over():
			return fmt.Errorf("%w: it is %s: %s%s", errJob, j.state, j.message, r.otherSide(ctx, j.name))
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// otherSide is what the target says of a job that failed; the source may have seen no more
// than that its connection broke. A target that cannot be asked says nothing.
func (r *run) otherSide(ctx context.Context, name string) string {
	all, err := r.dst.jobs(ctx)
	if err != nil {
		return ""
	}
	for _, j := range all {
		if j.name == name {
			return fmt.Sprintf(" (the target: %s: %s)", j.state, j.message)
		}
	}
	return ""
}

// await waits for jobs of an earlier attempt. Such as bring slots elsewhere, or that are
// of other slots as well, are waited for too: whoever ordered them wanted that.
func (r *run) await(ctx context.Context) error {
	for wait := tick; ; wait = min(2*wait, slowTick) {
		all, err := r.src.jobs(ctx)
		if err != nil {
			return err
		}
		busy := slices.ContainsFunc(all, func(j job) bool { return j.export && !j.over() })
		if !busy {
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// agreed waits until all know that slots are the target's, and reports them.
func (r *run) agreed(ctx context.Context, slots []int) error {
	if len(slots) == 0 {
		return nil
	}
	if err := r.agree(ctx, r.there(), slots); err != nil {
		return err
	}
	if err := r.at("agreed there"); err != nil {
		return err
	}
	return r.settled(ctx, slots)
}
