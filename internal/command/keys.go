package command

import "bytes"

// finder fills an Effect from the arguments; false means that they are not right.
type finder func(e *Effect, args [][]byte) bool

// wrote notes a key that may be changed, read one that is not.
func (e *Effect) wrote(at int) bool {
	e.Keys, e.Written = append(e.Keys, at), append(e.Written, at)
	return true
}

func (e *Effect) read(at int) { e.Keys = append(e.Keys, at) }

func one(e *Effect, _ [][]byte) bool    { return e.wrote(1) }
func second(e *Effect, _ [][]byte) bool { return e.wrote(2) }

// every: from the first argument to the last, with a step.
func every(step int) finder {
	return func(e *Effect, args [][]byte) bool {
		for i := 1; i < len(args); i += step {
			e.wrote(i)
		}
		return (len(args)-1)%step == 0
	}
}

// pair: two keys, both changed.
func pair(e *Effect, _ [][]byte) bool { return e.wrote(1) && e.wrote(2) }

// pairFirst: two keys, of which the second is only read.
func pairFirst(e *Effect, _ [][]byte) bool {
	e.wrote(1)
	e.read(2)
	return true
}

// toFirst: a destination and, to the end, what it is made of.
func toFirst(at int) finder {
	return func(e *Effect, args [][]byte) bool {
		e.wrote(at)
		for i := at + 1; i < len(args); i++ {
			e.read(i)
		}
		return true
	}
}

// untilTimeout: all arguments but the last.
func untilTimeout(e *Effect, args [][]byte) bool {
	for i := 1; i < len(args)-1; i++ {
		e.wrote(i)
	}
	return true
}

func restores(e *Effect, _ [][]byte) bool {
	e.Foreign = true
	return e.wrote(1)
}

// moves: the key is gone here and is there.
func moves(e *Effect, args [][]byte) bool {
	db, ok := number(args[2])
	e.Other = db
	e.wrote(1)
	e.Written = append(e.Written, 1)
	return ok
}

func copies(e *Effect, args [][]byte) bool {
	e.read(1)
	e.wrote(2)
	for i := 3; i < len(args); i++ {
		if is(args[i], "db") {
			db, ok := 0, i+1 < len(args)
			if ok {
				db, ok = number(args[i+1])
			}
			if !ok {
				return false
			}
			e.Other = db
			i++
		}
	}
	return true
}

// span gives the keys that a count at some place announces.
func span(args [][]byte, at int) (from, to int, ok bool) {
	n, ok := number(args[at])
	if !ok || n > len(args)-at-1 {
		return 0, 0, false
	}
	return at + 1, at + 1 + n, true
}

// numbered: a destination, then a count at some place and so many sources.
func numbered(at int) finder {
	return func(e *Effect, args [][]byte) bool {
		from, to, ok := span(args, at)
		e.wrote(1)
		for i := from; i < to; i++ {
			e.read(i)
		}
		return ok && to > from
	}
}

// counted: a count at some place and so many keys.
func counted(at int) finder {
	return func(e *Effect, args [][]byte) bool {
		from, to, ok := span(args, at)
		for i := from; i < to; i++ {
			e.wrote(i)
		}
		return ok && to > from
	}
}

// pairsCounted: a count, and so many keys each with a value.
func pairsCounted(e *Effect, args [][]byte) bool {
	n, ok := number(args[1])
	if !ok || n == 0 || n > (len(args)-2)/2 {
		return false
	}
	for i := range n {
		e.wrote(2 + 2*i)
	}
	return true
}

// script: EVAL as such may change keys that it does not declare.
func script(e *Effect, args [][]byte) bool {
	e.Undeclared = true
	return called(e, args)
}

// called: a function must declare its keys, but nothing forces it to.
func called(e *Effect, args [][]byte) bool {
	e.Undeclared = true
	from, to, ok := span(args, 2)
	for i := from; i < to; i++ {
		e.wrote(i)
	}
	return ok
}

// sorts: SORT key … STORE destination. The last one counts.
func sorts(e *Effect, args [][]byte) bool {
	e.read(1)
	to := 0
	for i := 2; i < len(args); i++ {
		switch {
		case is(args[i], "limit"):
			i += 2
		case is(args[i], "by"), is(args[i], "get"):
			i++
		case is(args[i], "store") && i+1 < len(args):
			i++
			to = i
		}
	}
	if to > 0 {
		e.wrote(to)
	}
	return true
}

// stores: GEORADIUS key … STORE or STOREDIST destination.
func stores(e *Effect, args [][]byte) bool {
	e.read(1)
	to, from := 0, 6
	if is(args[0], "georadiusbymember") {
		from = 5
	}
	for i := from; i < len(args); i++ {
		if (is(args[i], "store") || is(args[i], "storedist")) && i+1 < len(args) {
			i++
			to = i
		}
	}
	if to > 0 {
		e.wrote(to)
	}
	return true
}

// migrates: one key, or an empty one and KEYS at the end.
func migrates(e *Effect, args [][]byte) bool {
	if len(args[3]) > 0 {
		return e.wrote(3)
	}
	for i := 6; i < len(args); i++ {
		switch {
		case is(args[i], "auth"):
			i++
		case is(args[i], "auth2"):
			i += 2
		case is(args[i], "keys"):
			for j := i + 1; j < len(args); j++ {
				e.wrote(j)
			}
			return i+1 < len(args)
		}
	}
	return false
}

// reads: XREADGROUP GROUP g c … STREAMS keys and as many identifiers.
func reads(e *Effect, args [][]byte) bool {
	for i := 4; i < len(args); i++ {
		switch {
		case is(args[i], "block"), is(args[i], "count"), is(args[i], "claim"):
			i++
		case is(args[i], "streams"):
			n := len(args) - i - 1
			for j := range n / 2 {
				e.wrote(i + 1 + j)
			}
			return n > 0 && n%2 == 0
		}
	}
	return false
}

func selects(e *Effect, args [][]byte) (ok bool) {
	e.DB, ok = number(args[1])
	return ok
}

func flushAll(e *Effect, _ [][]byte) bool {
	e.All = true
	return true
}

func swaps(e *Effect, args [][]byte) bool {
	var ok1, ok2 bool
	e.DB, ok1 = number(args[1])
	e.Other, ok2 = number(args[2])
	return ok1 && ok2
}

// clusterSub: of CLUSTER only what removes keys changes data.
func clusterSub(e *Effect, args [][]byte) bool {
	if !is(args[1], "flushslot") {
		e.Kind = Control
	}
	return true
}

// is compares with a word in lower case, whatever the case of the argument.
func is(arg []byte, word string) bool {
	return len(arg) == len(word) && bytes.EqualFold(arg, []byte(word))
}

// number reads a count or a database.
func number(arg []byte) (int, bool) {
	if len(arg) == 0 || len(arg) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range arg {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
