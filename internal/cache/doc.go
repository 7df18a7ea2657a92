// Package cache holds the words that the whole service speaks: replication
// group, cache cluster, node, snapshot, status, event, fault. It imports nothing
// of ours, decides nothing and touches nothing; every other package may use it.
//
// A record carries what was asked for (written by control) and what was seen
// (written by reconcile) side by side. The comment of each struct says which is
// which. Records are stored as JSON and keyed "<region>/<id>".
package cache
