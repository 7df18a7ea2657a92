package bridge

import (
	"bytes"
	"fmt"
	"strconv"

	"holdfast.dev/internal/command"
	"holdfast.dev/internal/resp"
)

// beginAnew says that the stream cannot go on, and everything has to be copied again.
type beginAnew struct{ why string }

func (e *beginAnew) Error() string { return "everything has to be copied again: " + e.why }

// dirt is a key whose changes do not reach the target until it was refreshed.
type dirt struct {
	// last is the source's offset after the last command that was kept back, or that
	// may have replaced the key: a value read before that is of no use.
	last int64
}

// value is a key as it was at an offset of the source's stream, and the commands that make it so.
type value struct {
	id      keyID
	replID  string
	at      int64
	command []byte
}

// rewriter turns the source's stream into the target's. It keeps back what the target
// does not understand, and makes good for it by refreshing the key: see the
// package's documentation. It belongs to one goroutine.
type rewriter struct {
	pass *vocabulary // what passes as it is
	// a is the offset in the source's stream after what was taken in.
	a        int64
	up, down int
	inTx     bool
	out      []byte
	dirty    map[keyID]*dirt
	effect   command.Effect

	// plus, minus are the changes of dirty since the last mark; want, the keys to be read.
	plus, minus []keyID
	want        []keyID
	// ready are values that wait for their offset, the earliest first.
	ready []*value
	// asked: the source wants an acknowledgement.
	asked bool
	// streams, if not nil, collects the keys that may have become streams, and swaps the
	// databases that changed places meanwhile.
	streams   map[keyID]bool
	swaps     [][2]int
	refreshed int64
	// marks are told what changes.
	marks *marks
}

func newRewriter(v *vocabulary, at mark, dirty []keyID, m *marks) *rewriter {
	w := &rewriter{pass: v, marks: m, a: at.A, up: at.Up, down: at.Down, dirty: map[keyID]*dirt{}}
	for _, k := range dirty {
		w.dirty[k] = &dirt{last: at.A}
		w.want = append(w.want, k)
	}
	return w
}

// command takes in one command. raw is what it was framed in.
func (w *rewriter) command(raw []byte, args [][]byte) error {
	e := &w.effect
	command.ParseInto(e, args)
	w.a += int64(len(raw))
	w.marks.command(w, e, args)
	switch e.Kind {
	case command.Select:
		if w.pass.databases > 0 && e.DB >= w.pass.databases {
			return fmt.Errorf("the source uses database %d, and the target has %d databases", e.DB, w.pass.databases)
		}
		w.up, w.down = e.DB, e.DB
		w.out = append(w.out, raw...)
		return nil
	case command.Begin:
		w.inTx = true
	case command.Commit:
		w.inTx = false
	case command.Control:
		w.asked = w.asked || isGetAck(args)
		if !w.pass.knows(args) {
			return nil
		}
	case command.Flush:
		w.touchAll()
		if w.pass.old && len(args) > 1 { // SYNC came with 6.2
			w.align()
			w.out = resp.AppendCommand(w.out, string(args[0]))
			return nil
		}
	case command.SwapDB:
		w.swap(e.DB, e.Other)
	case command.Functions:
		if !w.pass.takesFunctions(args) {
			return &beginAnew{"functions were changed in a way that the target does not take"}
		}
	case command.Write:
		if w.keepBack(e, args) {
			return nil
		}
	default:
		if !w.pass.everything {
			return fmt.Errorf("cannot carry the command %q to the target: it is not known what it changes; a migration by reading (SCAN, DUMP) does without", args[0])
		}
	}
	w.align()
	w.out = append(w.out, raw...)
	return nil
}

func isGetAck(args [][]byte) bool {
	return len(args) > 1 && bytes.EqualFold(args[0], []byte("REPLCONF")) && bytes.EqualFold(args[1], []byte("GETACK"))
}

// align puts the target into the database that the source's stream is in.
func (w *rewriter) align() {
	if w.up >= 0 { // a source says SELECT before it says anything of keys
		w.selectDB(w.up)
	}
}

func (w *rewriter) selectDB(db int) {
	if w.down != db {
		w.out = resp.AppendCommand(w.out, "SELECT", strconv.Itoa(db))
		w.down = db
	}
}

// keepBack tells whether a command does not pass: the target would not understand it,
// or it touches a key that waits for its refresh. What it writes then waits too.
func (w *rewriter) keepBack(e *command.Effect, args [][]byte) bool {
	if w.streams != nil && makesStreams(args[0]) {
		w.written(e, args, func(k keyID) { w.streams[k] = true })
	}
	if w.pass.understands(e, args) && !w.touchesDirty(e, args) {
		return false
	}
	w.written(e, args, w.soil)
	return true
}

// written calls do for each key that a command writes.
func (w *rewriter) written(e *command.Effect, args [][]byte, do func(keyID)) {
	for i, at := range e.Written {
		db := w.up
		if e.Other >= 0 && i == len(e.Written)-1 {
			db = e.Other
		}
		do(keyID{db, string(args[at])})
	}
}

// makesStreams tells whether a key that a command writes may be a stream afterwards
// that was none before.
func makesStreams(name []byte) bool {
	return len(name) > 0 && (name[0]|0x20) == 'x' || in(name, "rename", "renamenx", "move", "copy", "restore", "restore-asking")
}

func (w *rewriter) touchesDirty(e *command.Effect, args [][]byte) bool {
	if len(w.dirty) == 0 {
		return false
	}
	// SORT reads keys that it makes from a pattern, and scripts whatever they like.
	if e.Undeclared || bytes.EqualFold(args[0], []byte("SORT")) {
		return true
	}
	for _, keys := range [][]int{e.Keys, e.Written} {
		for _, at := range keys {
			if w.dirty[keyID{w.up, string(args[at])}] != nil || e.Other >= 0 && w.dirty[keyID{e.Other, string(args[at])}] != nil {
				return true
			}
		}
	}
	return false
}

// soil makes a key wait for a refresh that is no older than now.
func (w *rewriter) soil(k keyID) {
	w.marks.key(k)
	d := w.dirty[k]
	if d == nil {
		d = &dirt{}
		w.dirty[k] = d
		w.plus = append(w.plus, k)
		w.want = append(w.want, k)
	}
	d.last = w.a
}

// touchAll: values that were read before now are of no use.
func (w *rewriter) touchAll() {
	for _, d := range w.dirty {
		d.last = w.a
	}
}

// swap: a key that waits in one of two databases that change places waits in both.
func (w *rewriter) swap(a, b int) {
	var both []keyID
	if w.streams == nil {
		w.swaps = w.swaps[:0]
	}
	for k := range w.dirty {
		if k.DB == a || k.DB == b {
			both = append(both, keyID{a, k.Key}, keyID{b, k.Key})
		}
	}
	w.touchAll()
	w.swaps = append(w.swaps, [2]int{a, b})
	for _, k := range both {
		w.soil(k)
	}
}

// take takes in values that were read. Those that were read too early are asked for
// again; the others wait for their offset.
func (w *rewriter) take(replID string, values []*value) {
	for _, v := range values {
		d := w.dirty[v.id]
		switch {
		case d == nil:
		case v.replID != replID || v.at < d.last:
			w.want = append(w.want, v.id)
		default:
			w.ready = append(w.ready, v)
		}
	}
}

// refresh sends the values whose offset has come: exactly then, for what comes after
// is not in them. They were read one after the other, so the first is the next.
func (w *rewriter) refresh() {
	for !w.inTx && len(w.ready) > 0 && w.ready[0].at <= w.a {
		v := w.ready[0]
		w.ready = w.ready[1:]
		d := w.dirty[v.id]
		if d == nil {
			continue
		}
		if v.at < d.last {
			// A later command was kept back after the value had come.
			w.want = append(w.want, v.id)
			continue
		}
		w.selectDB(v.id.DB)
		w.out = append(w.out, v.command...)
		delete(w.dirty, v.id)
		w.minus = append(w.minus, v.id)
		w.refreshed++
	}
}
