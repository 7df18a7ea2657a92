package cache

// SlotMove is an order to move slots from one shard of a running cluster to another
// while both serve.
type SlotMove struct {
	// Source and Target are the primaries of the two shards, as they are at present.
	Source, Target NodeSpec
	// Others are all other nodes of the cluster that run: they are told last, so
	// that none goes on sending clients to the wrong shard.
	Others []NodeSpec
	// Slots that are to be the target's. Some of them may be already, by an earlier
	// attempt that was cut short.
	Slots Slots
}

// SlotProgress is what has come of a SlotMove since it was begun, or begun again.
type SlotProgress struct {
	// Done are slots that are the target's now, with all their keys, for good: source,
	// target and all others know it. Those that were already are among them.
	Done Slots
	// Keys and Bytes (of their serialization, where the way in which they went tells
	// it) that were moved for them.
	Keys, Bytes int64
	// Kept are slots that stay with their source, each with the reason: an item in it
	// is too large to be moved without stalling the shard.
	Kept map[int]string
}
