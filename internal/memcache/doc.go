// Package memcache reads and writes the items of memcached servers, as clients do.
//
// # Reading everything
//
// `lru_crawler metadump hash` lists the keys by walking the hash table, which misses
// none that is there from beginning to end (`all` walks the LRU lists and does: items move between
// those meanwhile). Each key is then asked for with the meta protocol, without being
// counted as used. What comes is true of each item by itself at the moment at which it was read: items
// that are written meanwhile may be in it or not, and there is no instant at which all
// of it was true, because memcached has nothing of the sort.
//
// # Writing
//
// Items are set with their flags and, as an absolute time, their expiry; the
// check-and-set number is kept where the server lets one be given (from 1.6.21 on). Writes are sent
// quietly, so that only failures answer, and each batch ends with a no-op that tells that all
// of it was taken.
//
// # Servers that are many
//
// Memcached servers know nothing of each other: which one has a key is for clients to
// agree on. Ring does it as the common ones do, Spread writes to the servers that it tells, and ReadAll reads
// several at the same time. Rebalance moves what gets another owner when servers come or go.
//
// # Comparing
//
// Compare holds what has been read of one end (Sums, 24 bytes for each item) against everything of another one, and looks
// again at what differs.
package memcache
