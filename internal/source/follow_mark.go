package source

import "holdfast.dev/internal/flow"

// AnyDB stands, in the keys that Remark returns, for a database that the source does not tell.
const AnyDB = anyDB

// Remark is Marked and Mark in one: no change falls between the two. Without a
// Mark before, any key may have changed.
func (f *Follow) Remark() (keys []flow.Key, all bool) {
	d := f.changes
	d.mu.Lock()
	defer d.mu.Unlock()
	all = d.marked == nil || d.markedAll || d.deaf
	for t := range d.marked {
		keys = append(keys, flow.Key{DB: t.db, Name: t.key})
	}
	d.marked, d.markedAll = map[touched]struct{}{}, false
	return keys, all
}
