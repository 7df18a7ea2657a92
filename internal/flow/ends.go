package flow

import (
	"context"
	"iter"
)

// Source is a place that entries come from. A source is read once.
type Source interface {
	// Entries yields every entry, then stops; a failure is yielded once, as the
	// last element. The yielded pointer and its bytes are valid until the next
	// element is asked for.
	Entries(ctx context.Context) iter.Seq2[*Entry, error]
	// Close releases what the source holds. It may be called at any time, twice too.
	Close() error
}

// Sized is a source that can tell, before it is read, about how many entries it
// will yield; 0 means that it does not know.
type Sized interface {
	Len(ctx context.Context) (int64, error)
}

// Sink is a place that entries go to.
type Sink interface {
	// Write accepts a batch; it keeps none of its bytes after it returns.
	Write(ctx context.Context, batch []Entry) error
	// Commit makes everything written durable and visible under its final name.
	// A sink that is closed without it leaves nothing that could be taken for
	// the whole.
	Commit(ctx context.Context) error
	// Close releases what the sink holds. It may be called at any time, twice too.
	Close() error
}
