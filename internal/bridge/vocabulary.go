package bridge

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"holdfast.dev/internal/command"
	"holdfast.dev/internal/resp"
)

// vocabulary is what the target understands of the source's stream.
type vocabulary struct {
	// everything: the target is of the source's family and no older.
	everything bool
	// names are the commands that the target has, in lower case.
	names map[string]bool
	// old: the target is older than what the two families have in common (7.2), so that
	// only the plainest forms are trusted.
	old bool
	// relative: the source sends expiries as times from now (before 7.0), and now is
	// later when they arrive.
	relative bool
	// databases that the target has; 0 if that is not known.
	databases int
}

// family of an engine, for what its stream may hold.
func family(s resp.Server) string {
	if s.Engine == "redict" {
		return "valkey"
	}
	return s.Engine
}

// newVocabulary asks the target for its commands where the engines differ.
func newVocabulary(ctx context.Context, conn *resp.Conn, from, to resp.Server) (*vocabulary, error) {
	v := &vocabulary{old: !to.AtLeast(7, 2), relative: !from.AtLeast(7, 0)}
	common := from.Engine == "redis" && !from.AtLeast(7, 3) // what Valkey began with
	newer := to.Major > from.Major || to.Major == from.Major && to.Minor >= from.Minor
	native := family(from) == family(to) && newer || common && to.Engine != "redis"
	if native {
		v.old = false // whatever is new there, the source does not send it
		if v.everything = !v.relative; v.everything {
			return v, nil
		}
	}
	r, err := conn.Do(ctx, "COMMAND")
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for its commands: %w", conn, err)
	}
	v.names = map[string]bool{}
	for _, c := range r.Elems {
		if len(c.Elems) > 0 {
			v.names[strings.ToLower(string(c.Elems[0].Bytes))] = true
		}
	}
	return v, nil
}

func (v *vocabulary) knows(args [][]byte) bool {
	return v.everything || v.names[strings.ToLower(string(args[0]))]
}

// takesFunctions tells whether a change of functions passes. A payload does not: its
// footer is that of the other dialect.
func (v *vocabulary) takesFunctions(args [][]byte) bool {
	return v.everything || v.knows(args) && len(args) > 1 && !bytes.EqualFold(args[1], []byte("RESTORE"))
}

// own are the commands that the families came to have each for itself: of the same name,
// and not surely of the same meaning.
var own = map[string]bool{
	"hexpire": true, "hpexpire": true, "hexpireat": true, "hpexpireat": true, "hpersist": true, "hsetex": true, "hgetex": true, "hgetdel": true,
	"msetex": true, "delex": true, "delifeq": true, "xdelex": true, "xackdel": true, "vadd": true, "vrem": true, "vsetattr": true,
	"xcfgset": true, "xidmprecord": true,
}

// understands tells whether the target does with a command what the source did.
func (v *vocabulary) understands(e *command.Effect, args [][]byte) bool {
	if v.everything {
		return true
	}
	name := strings.ToLower(string(args[0]))
	if e.Foreign || e.Undeclared || own[name] || !v.names[name] {
		return false
	}
	if v.relative && isRelative(name, args) {
		return false
	}
	if v.old {
		return plain(name, args)
	}
	return commonForm(name, args)
}

// commonForm tells whether a command has only options that both families had from the beginning.
func commonForm(name string, args [][]byte) bool {
	switch name {
	case "set":
		return options(args[3:], "ex", "px", "exat", "pxat", "nx", "xx", "get", "keepttl")
	case "bitop":
		return options(args[1:2], "and", "or", "xor", "not")
	case "xadd", "xtrim":
		for _, a := range args[2:min(len(args), 8)] {
			if in(a, "keepref", "delref", "acked", "idmp", "idmpauto") {
				return false
			}
		}
	}
	return true
}

// isRelative tells whether a command gives a key an expiry counted from now.
func isRelative(name string, args [][]byte) bool {
	switch name {
	case "setex", "psetex", "expire", "pexpire":
		return true
	case "set", "getex":
		for _, a := range args[min(2, len(args)):] {
			if in(a, "ex", "px") {
				return true
			}
		}
	}
	return false
}

// plainForms holds the commands that Redis 5 has too, with the greatest number of
// arguments, the name counted, that is of the same meaning there; -1 is any.
var plainForms = map[string]int{
	"del": -1, "unlink": -1, "set": 3, "setrange": 4, "append": 3, "setbit": 4, "setex": 4, "psetex": 4, "mset": -1, "getset": 3,
	"incr": 2, "decr": 2, "incrby": 3, "decrby": 3, "incrbyfloat": 3,
	"lpush": -1, "rpush": -1, "lpushx": -1, "rpushx": -1, "lpop": 2, "rpop": 2, "linsert": 5, "lset": 4, "lrem": 4, "ltrim": 4, "rpoplpush": 3,
	"sadd": -1, "srem": -1, "smove": 4, "sinterstore": -1, "sunionstore": -1, "sdiffstore": -1,
	"zadd": 4, "zrem": -1, "zincrby": 4, "zremrangebyrank": 4, "zremrangebyscore": 4, "zremrangebylex": 4,
	"hset": -1, "hmset": -1, "hdel": -1, "hincrby": 4, "hincrbyfloat": 4, "hsetnx": 4,
	"expire": 3, "pexpire": 3, "expireat": 3, "pexpireat": 3, "persist": 2, "rename": 3, "move": 3, "pfadd": -1, "pfmerge": -1,
}

func plain(name string, args [][]byte) bool {
	most, ok := plainForms[name]
	return ok && (most < 0 || len(args) <= most)
}

// options tells whether all words are among those given, or numbers.
func options(words [][]byte, known ...string) bool {
	for _, w := range words {
		if len(w) > 0 && (w[0] >= '0' && w[0] <= '9') {
			continue
		}
		if !in(w, known...) {
			return false
		}
	}
	return true
}

func in(word []byte, known ...string) bool {
	for _, k := range known {
		if strings.EqualFold(string(word), k) {
			return true
		}
	}
	return false
}
