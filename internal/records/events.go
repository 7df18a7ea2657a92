package records

import (
	"fmt"
	"iter"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/store"
)

// EventsKept is how long events can be read.
const EventsKept = 14 * 24 * time.Hour

// keyTime has a fixed width, so that keys sort as their times do.
const keyTime = "2006-01-02T15:04:05.000000000Z"

// pruneAtOnce bounds how many expired events one new event takes away. It is
// more than one, so a backlog shrinks.
const pruneAtOnce = 8

// AddEvent adds a line to DescribeEvents and takes a few that have expired away.
// sourceType is one of cache.EventGroup and its like.
func AddEvent(tx *store.Tx, region, sourceType, id, message string, at time.Time) error {
	at = at.UTC()
	if err := pruneEvents(tx, region, at.Add(-EventsKept)); err != nil {
		return err
	}
	e := cache.Event{Region: region, SourceType: sourceType, SourceID: id, Message: message, At: at}
	for seq := 0; ; seq++ {
		key := fmt.Sprintf("%s%s/%06d", InRegion(region), at.Format(keyTime), seq)
		_, taken, err := Events.Get(tx, key)
		if err != nil {
			return err
		}
		if !taken {
			return Events.Put(tx, key, e)
		}
	}
}

func pruneEvents(tx *store.Tx, region string, before time.Time) error {
	n := 0
	for item, err := range Events.Scan(tx, InRegion(region), "") {
		if err != nil {
			return err
		}
		if n++; n > pruneAtOnce || !item.Value.At.Before(before) {
			return nil
		}
		if err := Events.Delete(tx, item.Key); err != nil {
			return err
		}
	}
	return nil
}

// EventsBetween goes through the events of a region from, inclusive, to, exclusive,
// from old to new. The key of each is unique and sorts as they come.
func EventsBetween(tx *store.Tx, region string, from, to time.Time) iter.Seq2[store.Item[cache.Event], error] {
	return func(yield func(store.Item[cache.Event], error) bool) {
		// Keys of that very instant go on with a slash, so they sort after this.
		after := InRegion(region) + from.UTC().Format(keyTime)
		for item, err := range Events.Scan(tx, InRegion(region), after) {
			if err == nil && !item.Value.At.Before(to) {
				return
			}
			if !yield(item, err) {
				return
			}
		}
	}
}
