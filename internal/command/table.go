package command

// longestName bounds the names in the table.
const longestName = 24

// spec is what is known of a command: find fills the positions in, and tells
// whether the arguments are right; least is the fewest arguments, the name included.
type spec struct {
	kind  Kind
	least int
	find  finder
}

// table has every command by its name in lower case.
var table = build()

func build() map[string]spec {
	t := map[string]spec{}
	add := func(kind Kind, least int, find finder, names ...string) {
		for _, n := range names {
			t[n] = spec{kind, least, find}
		}
	}
	control(add)
	single(add)
	several(add)
	movable(add)
	return t
}

type adder func(kind Kind, least int, find finder, names ...string)

// control: what is no write to keys.
func control(add adder) {
	add(Select, 2, selects, "select")
	add(Flush, 1, nil, "flushdb")
	add(Flush, 1, flushAll, "flushall")
	add(SwapDB, 3, swaps, "swapdb")
	add(Begin, 1, nil, "multi")
	add(Commit, 1, nil, "exec")
	add(Functions, 2, nil, "function")
	add(Control, 1, nil, "ping", "replconf", "publish", "spublish", "script", "discard", "asking", "echo", "time", "wait", "debug")
	add(FlushSlot, 2, clusterSub, "cluster")
}

// single: the first argument is the key.
func single(add adder) {
	add(Write, 2, one, "append", "bitfield", "decr", "decrby", "delifeq", "expire", "expireat",
		"geoadd", "getdel", "getex", "getset", "hdel", "hexpire", "hexpireat", "hgetdel", "hgetex",
		"hincrby", "hincrbyfloat", "hmset", "hpersist", "hpexpire", "hpexpireat", "hset", "hsetex",
		"hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lpop", "lpush", "lpushx", "lrem",
		"lset", "ltrim", "persist", "pexpire", "pexpireat", "pfadd", "psetex", "rpop", "rpush",
		"rpushx", "sadd", "set", "setbit", "setex", "setnx", "setrange", "spop", "srem",
		"xack", "xackdel", "xadd", "xautoclaim", "xcfgset", "xclaim", "xdel", "xdelex", "xsetid", "xtrim",
		"zadd", "zincrby", "zpopmax", "zpopmin", "zrem", "zremrangebylex", "zremrangebyrank",
		"zremrangebyscore", "vadd", "vrem", "vsetattr", "substr")
	add(Write, 4, restores, "restore", "restore-asking")
	add(Write, 3, moves, "move")
	add(Write, 3, second, "xgroup", "pfdebug")
}

// several: keys at fixed places, or all to the end.
func several(add adder) {
	add(Write, 2, every(1), "del", "unlink")
	add(Write, 3, every(2), "mset", "msetnx")
	add(Write, 3, pair, "rename", "renamenx", "rpoplpush", "smove")
	add(Write, 5, pair, "lmove")
	add(Write, 4, pair, "brpoplpush")
	add(Write, 6, pair, "blmove")
	add(Write, 3, copies, "copy")
	add(Write, 5, pairFirst, "zrangestore")
	add(Write, 7, pairFirst, "geosearchstore")
	add(Write, 2, toFirst(1), "pfmerge")
	add(Write, 3, toFirst(1), "sdiffstore", "sinterstore", "sunionstore")
	add(Write, 4, toFirst(2), "bitop")
	add(Write, 3, untilTimeout, "blpop", "brpop", "bzpopmin", "bzpopmax")
}

// movable: where the keys are is told by other arguments.
func movable(add adder) {
	add(Write, 4, numbered(2), "zdiffstore", "zinterstore", "zunionstore")
	add(Write, 4, counted(1), "lmpop", "zmpop")
	add(Write, 5, counted(2), "blmpop", "bzmpop")
	add(Write, 4, pairsCounted, "msetex")
	add(Write, 3, script, "eval", "evalsha")
	add(Write, 3, called, "fcall")
	add(Control, 3, nil, "eval_ro", "evalsha_ro", "fcall_ro")
	add(Write, 2, sorts, "sort")
	add(Write, 6, stores, "georadius")
	add(Write, 5, stores, "georadiusbymember")
	add(Write, 6, migrates, "migrate")
	add(Write, 7, reads, "xreadgroup")
}
