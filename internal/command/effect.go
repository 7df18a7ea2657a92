package command

// Kind is what a command does to a keyspace.
type Kind int

// The kinds.
const (
	// Unknown: it is not in the table, or not in the right form.
	Unknown Kind = iota
	// Write changes the keys that Written names.
	Write
	// Select makes DB the database of the commands that follow.
	Select
	// Flush empties the current database, or, with All, every one.
	Flush
	// FlushSlot removes the keys of some slots (Valkey 9, cluster mode).
	FlushSlot
	// SwapDB exchanges DB and Other.
	SwapDB
	// Begin and Commit stand around a transaction.
	Begin
	Commit
	// Functions changes the libraries of functions, which are no keys.
	Functions
	// Control changes no data: PING, REPLCONF, PUBLISH, SCRIPT.
	Control
)

var kindNames = [...]string{"unknown", "write", "select", "flush", "flush slot", "swap", "begin", "commit", "functions", "control"}

// String names the kind.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Effect is what one command does. Positions are those in the command's
// arguments, of which the name is number 0.
type Effect struct {
	Kind Kind
	// Keys are the positions of all keys, Written of those that may be changed. A
	// key may come twice.
	Keys, Written []int
	// DB is the database of Select, and the first of SwapDB. Other is the second
	// one; for a Write it is the database in which the last of Written is (MOVE, COPY
	// with DB), and -1 if that is the current one.
	DB, Other int
	// All: Flush empties every database.
	All bool
	// Undeclared: keys that are not named may have been changed too.
	Undeclared bool
	// Foreign: an argument is a value in the server's own serialization (RESTORE).
	Foreign bool
}

// Parse tells what a command does, its name first.
func Parse(args [][]byte) Effect {
	var e Effect
	ParseInto(&e, args)
	return e
}

// ParseInto is Parse into an Effect whose memory is used again.
func ParseInto(e *Effect, args [][]byte) {
	*e = Effect{Keys: e.Keys[:0], Written: e.Written[:0], Other: -1}
	if len(args) == 0 {
		return
	}
	s, ok := lookup(args)
	if !ok || len(args) < s.least {
		return
	}
	e.Kind = s.kind
	if s.find != nil && !s.find(e, args) {
		*e = Effect{Keys: e.Keys[:0], Written: e.Written[:0], Other: -1}
	}
}

// lookup finds the command, whatever its case, without making garbage of its name.
func lookup(args [][]byte) (spec, bool) {
	var buf [longestName]byte
	name := args[0]
	if len(name) > longestName {
		return spec{}, false
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	s, ok := table[string(buf[:len(name)])]
	return s, ok
}

// Known tells whether the table has a command of that name, in lower case.
func Known(name string) bool {
	_, ok := table[name]
	return ok
}

// Writes tells whether the command of that name, in lower case, may change keys.
// Calling a script is no write by itself: what the script calls is.
func Writes(name string) bool {
	if name == "eval" || name == "evalsha" || name == "fcall" {
		return false
	}
	switch table[name].kind {
	case Write, Flush, FlushSlot, SwapDB:
		return name != "cluster"
	}
	return false
}
