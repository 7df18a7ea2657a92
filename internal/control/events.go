package control

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// EventFilter is what DescribeEvents asks for; empty fields match all.
type EventFilter struct {
	SourceType, SourceID string
	Start, End           *time.Time
	Duration             *time.Duration
}

// Event is an event under a name that sorts as DescribeEvents does.
type Event struct {
	cache.Event
	Order string
}

// defaultSpan is how far back events are shown when nothing is said.
const defaultSpan = time.Hour

// DescribeEvents returns the page of the events that match, newest first.
func (c *Control) DescribeEvents(ctx context.Context, region string, f EventFilter, page Page[Event]) ([]Event, error) {
	from, to, err := f.span(c.Now())
	if err != nil {
		return nil, err
	}
	var out []Event
	err = c.DB.View(ctx, func(tx *store.Tx) error {
		var all []Event
		for item, err := range records.EventsBetween(tx, region, from, to) {
			if err != nil {
				return err
			}
			e := item.Value
			if (f.SourceType == "" || e.SourceType == f.SourceType) && (f.SourceID == "" || e.SourceID == lower(f.SourceID)) {
				all = append(all, Event{Event: e, Order: countdown(item.Key, e.At)})
			}
		}
		slices.Reverse(all)
		var err error
		out, err = page.of(all)
		return err
	})
	return out, err
}

// countdown makes of an event's key a name that sorts newest first and stays the
// same when newer ones come: its time, and its number among those of one
// instant, both counted down.
func countdown(key string, at time.Time) string {
	seq, _ := strconv.Atoi(key[strings.LastIndexByte(key, '/')+1:]) // 0 would only mix up one instant
	return fmt.Sprintf("%019d-%06d", math.MaxInt64-at.UnixNano(), 999999-seq)
}

// span is the time that is asked for: from, inclusive, to, exclusive.
func (f *EventFilter) span(now time.Time) (from, to time.Time, err error) {
	d := defaultSpan
	if f.Duration != nil {
		if d = *f.Duration; d <= 0 {
			return from, to, invalid("The parameter Duration must be a positive number of minutes.")
		}
	}
	// Events of this very instant are shown too.
	to = now.Add(time.Nanosecond)
	switch {
	case f.Start != nil && f.End != nil && f.Duration != nil:
		return from, to, conflict("The parameters StartTime, EndTime and Duration cannot be used together.")
	case f.Start != nil:
		from = *f.Start
		if f.End != nil {
			to = *f.End
		} else if f.Duration != nil {
			to = from.Add(d)
		}
	case f.End != nil:
		to = *f.End
		from = to.Add(-d)
	default:
		from = now.Add(-d)
	}
	if from.After(to) {
		return from, to, conflict("The parameter StartTime must not be after EndTime.")
	}
	if oldest := now.Add(-records.EventsKept); from.Before(oldest) {
		from = oldest
	}
	return from, to, nil
}
