package main

import (
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
)

// openSnapshots opens the snapshot store of a data directory. What stands in it sealed
// is read with the keys beside it.
func (d dataDir) openSnapshots() (objects.Store, error) {
	store, err := objects.Dir(d.snapshots())
	if err != nil {
		return nil, err
	}
	return seal.New(store, seal.NewKeyring(d.keys())), nil
}
