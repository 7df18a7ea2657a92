package rdb

// EmptyCollection tells whether a value is a collection of nothing, which cannot be.
// Valkey 9 has such hashes for a moment, when all their fields have expired and
// the key was not removed yet, and puts them into its files and payloads; no other
// engine takes them, and the key is as good as gone.
func EmptyCollection(typ byte, value []byte) bool {
	if len(value) != 1 || value[0] != 0 {
		return false
	}
	switch typ {
	case TypeList, TypeSet, TypeZSet, TypeZSet2, TypeHash, TypeHash2, TypeQuicklist, TypeQuicklist2:
		return true
	}
	return false
}
