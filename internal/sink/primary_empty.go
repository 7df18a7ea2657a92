package sink

import "holdfast.dev/internal/rdb"

// EmptyCollection tells whether a value is a collection of nothing, as rdb's does.
func EmptyCollection(typ byte, value []byte) bool { return rdb.EmptyCollection(typ, value) }
