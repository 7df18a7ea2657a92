package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// saveEvery so often the checkpoint is brought up to date.
const saveEvery = time.Second

// keeper brings the checkpoint up to date; without one it does nothing.
type keeper struct {
	to      *Checkpoint
	carrier Carrier

	mu    sync.Mutex
	state string
	last  []byte
}

// keep saves now and then until ctx ends. An error is told at once: without a
// checkpoint nobody should go on for days.
func (k *keeper) keep(ctx context.Context, failed func(error)) {
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := k.save(); err != nil {
			failed(err)
			return
		}
	}
}

// enter saves with another state. undo is what has to be put back at the source
// by whoever comes after us, nil if nothing has to be.
func (k *keeper) enter(state string, undo json.RawMessage) error {
	if k.to == nil {
		return nil
	}
	k.mu.Lock()
	k.state, k.last = state, nil
	k.to.Record.State, k.to.Record.Undo = state, undo
	k.mu.Unlock()
	return k.save()
}

// switching is enter for the time in which clients are switched; what has to be
// put back at the source stays.
func (k *keeper) switching(written string) error {
	k.mu.Lock()
	undo := k.to.Record.Undo
	k.to.Record.Written = written
	k.mu.Unlock()
	return k.enter(StateSwitching, undo)
}

// save writes where the carrier is, if that is new.
func (k *keeper) save() error {
	if k.to == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	carrier, err := k.carrier.State()
	if err != nil {
		return err
	}
	if k.last != nil && bytes.Equal(carrier, k.last) {
		return nil
	}
	k.to.Record.Carrier = carrier
	if err := k.to.Save(); err != nil {
		return err
	}
	k.last = append(make([]byte, 0, len(carrier)+1), carrier...)
	return nil
}

// errNoCheckpoint says that where the migration is could not be written down.
var errNoCheckpoint = errors.New("cannot keep where the migration is, so it could not go on after a kill")
