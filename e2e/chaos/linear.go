package chaos

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// linearTimeout bounds the judgement of one key in one term, which may take
// exponential time. What is not decided by then counts as good.
const linearTimeout = 5 * time.Second

// register is a key within a term. What it held before is not known until
// somebody reads it.
type register struct {
	known bool
	value string
}

// step is an operation within a term. Here: the value was written within it for
// certain, and so cannot be what the term began with.
type step struct {
	Op
	here bool
}

var model = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		s, in := state.(register), input.(step)
		if in.Kind == Write {
			return true, register{true, in.Value}
		}
		return s.known && s.value == in.Value || !s.known && !in.here, register{true, in.Value}
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input) },
}

func notLinearizable(x *indexed) []Violation {
	return x.first(NotLinearizable, func(key string) string {
		names, terms := byReign(x.ops[key])
		for _, name := range names {
			ops := terms[name]
			if porcupine.CheckOperationsTimeout(model, ops, linearTimeout) == porcupine.Illegal {
				return fmt.Sprintf("no order explains the %d operations of run and term %s", len(ops), name)
			}
		}
		return ""
	})
}

// within is a value in a term.
type within struct{ reign, value string }

// byReign are the operations of a key by the term in which they happened. A write
// without an answer is in every term of its engine in which it was read: nobody
// can tell that it happened in another one, or never.
func byReign(ops []Op) (names []string, terms map[string][]porcupine.Operation) {
	terms = map[string][]porcupine.Operation{}
	read, written, runs := map[within]bool{}, map[within]bool{}, map[string]string{}
	for _, o := range ops {
		if !o.Done() {
			continue
		}
		name := o.reign()
		if runs[name] == "" {
			names, runs[name] = append(names, name), o.Run
		}
		if o.Kind == Read {
			read[within{name, o.Value}] = true
		} else {
			written[within{name, o.Value}] = true
		}
	}
	for _, o := range ops {
		if name := o.reign(); o.Done() {
			in := step{o, written[within{name, o.Value}]}
			terms[name] = append(terms[name], porcupine.Operation{ClientId: o.Client, Input: in, Call: o.Invoke, Return: o.Return})
		}
	}
	for _, o := range ops {
		if o.Kind != Write || o.Return != 0 {
			continue
		}
		for _, name := range names {
			if runs[name] == o.Run && read[within{name, o.Value}] {
				terms[name] = append(terms[name], porcupine.Operation{ClientId: o.Client, Input: step{Op: o}, Call: o.Invoke, Return: math.MaxInt64})
			}
		}
	}
	return names, terms
}
