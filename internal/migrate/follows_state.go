package migrate

import (
	"encoding/json"
	"fmt"

	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
)

// shardState is what is kept of one shard: where its Follow was, and which slots
// that speaks of.
type shardState struct {
	source.FollowState
	ID    string           `json:"id,omitempty"`
	Epoch int64            `json:"epoch,omitempty"`
	Slots []resp.SlotRange `json:"slots,omitempty"`
}

// State is that of each shard, by its address.
func (f *Follows) State() (json.RawMessage, error) {
	all := map[string]shardState{}
	list := f.list()
	if list == nil { // nobody has looked at the cluster yet
		for _, s := range f.earlier {
			all[s.Source] = s
		}
	}
	for _, one := range list {
		s := one.state()
		if s.Source == "" {
			continue // it has not begun
		}
		all[s.Source] = shardState{s, one.shard.ID, one.shard.Epoch, one.shard.Slots}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("cannot keep where the migration is: %w", err)
	}
	return b, nil
}

// state is where the follower is, or where it is to begin.
func (o *follower) state() source.FollowState {
	s := o.follow.State()
	if s.Source == "" && o.resume != nil {
		return *o.resume
	}
	return s
}

func readState(state json.RawMessage) ([]shardState, error) {
	if len(state) == 0 {
		return nil, nil
	}
	var all map[string]shardState
	if err := json.Unmarshal(state, &all); err != nil {
		return nil, fmt.Errorf("cannot read where the migration was: %w", err)
	}
	out := make([]shardState, 0, len(all))
	for _, s := range all {
		out = append(out, s)
	}
	return out, nil
}

// earlierOf is where an earlier run was with a shard, nil if that is of no use: its
// slots are others now. Without slots the address has to be the same.
func (f *Follows) earlierOf(s *Shard) *source.FollowState {
	for i := range f.earlier {
		e := &f.earlier[i]
		was := Shard{ID: e.ID, Epoch: e.Epoch, Slots: e.Slots}
		if was.continues(s) && (s.Slots != nil || e.Source == s.Options.String()) {
			return goOn(e.FollowState, s)
		}
	}
	return nil
}

// goOn is a state as it is for who takes over: the history is the same, if the
// server says so; else it is read anew.
func goOn(state source.FollowState, s *Shard) *source.FollowState {
	state.Source = s.Options.String()
	return &state
}
