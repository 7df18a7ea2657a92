package source

import "slices"

// feedWork is what a feed asks for besides reading single keys again.
type feedWork struct {
	// full is a snapshot that has to be applied before anything else.
	full *fullSync
	// rescan: databases of which every key has to be read again. sweep: those of
	// which the target may hold keys that the source has not.
	rescan, sweep dbSet
	// unknown are commands of which the server has to tell the keys.
	unknown []unknownCommand
	// streams: which keys are streams is not known.
	streams bool
}

// unknownCommand is one that the table of commands does not have.
type unknownCommand struct {
	db   int
	args []string
}

// maxUnknown commands are asked about; when there are more, everything is read again.
const maxUnknown = 1000

func (w *feedWork) empty() bool {
	return w.full == nil && w.rescan.empty() && w.sweep.empty() && len(w.unknown) == 0 && !w.streams
}

// add puts back what could not be done.
func (w *feedWork) add(o feedWork) {
	if w.full == nil {
		w.full = o.full
	}
	w.rescan.join(o.rescan)
	w.sweep.join(o.sweep)
	w.unknown = append(w.unknown, o.unknown...)
	w.streams = w.streams || o.streams
}

// dbSet is a set of databases.
type dbSet struct {
	all bool
	dbs []int
}

func (s *dbSet) empty() bool { return !s.all && len(s.dbs) == 0 }

func (s *dbSet) has(db int) bool { return s.all || slices.Contains(s.dbs, db) }

func (s *dbSet) add(dbs ...int) {
	for _, db := range dbs {
		if !s.has(db) {
			s.dbs = append(s.dbs, db)
		}
	}
}

func (s *dbSet) join(o dbSet) {
	s.all = s.all || o.all
	s.add(o.dbs...)
}

// takeWork hands over what is to be done.
func (d *dirtySet) takeWork() feedWork {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.work
	// A snapshot goes on waiting while it is applied: nothing may be read before.
	d.work = feedWork{full: w.full}
	if w.full != nil {
		w.full.applying = true
	}
	return w
}

// giveWork asks for something to be done.
func (d *dirtySet) giveWork(w feedWork) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.work.add(w)
	d.markAll()
	d.stir()
}

// applied forgets a snapshot that was applied, unless another one has come.
func (d *dirtySet) applied(full *fullSync) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.work.full == full {
		d.work.full = nil
	}
}
