package cache

import (
	"slices"
	"strings"
)

// ParamRenameCommands has pairs of a command and its new name, or the word blocked.
const ParamRenameCommands = "rename-commands"

const blockedWord = "blocked"

// renameable are the commands that ElastiCache lets be renamed or blocked. Every engine
// from Redis 5 on has them.
var renameable = strings.Fields(`append auth bitcount bitfield bitop bitpos blpop brpop brpoplpush bzpopmax bzpopmin
	client cluster command dbsize decr decrby del discard dump echo eval evalsha exec exists expire expireat flushall flushdb
	geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro get getbit getrange getset
	hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hscan hset hsetnx hstrlen hvals
	incr incrby incrbyfloat info keys lastsave lindex linsert llen lolwut lpop lpush lpushx lrange lrem lset ltrim
	memory mget monitor move mset msetnx multi object persist pexpire pexpireat pfadd pfcount pfmerge ping psetex psubscribe
	pttl publish pubsub punsubscribe randomkey readonly readwrite rename renamenx restore role rpop rpoplpush rpush rpushx
	sadd scan scard script sdiff sdiffstore select set setbit setex setnx setrange sinter sinterstore sismember slowlog
	smembers smove sort spop srandmember srem sscan strlen subscribe substr sunion sunionstore swapdb time touch ttl type
	unlink unsubscribe unwatch wait watch xack xadd xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange
	xsetid xtrim zadd zcard zcount zincrby zinterstore zlexcount zpopmax zpopmin zrange zrangebylex zrangebyscore zrank zrem
	zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunionstore`)

// checkRenames reads pairs of a command and its new name, or the word blocked.
func checkRenames(value string, bad func(string, ...any) error) error {
	words := strings.Fields(strings.ToLower(value))
	if len(words)%2 != 0 {
		return bad("it must hold pairs of a command and its new name, or the word blocked.")
	}
	taken := map[string]bool{}
	for i := 0; i < len(words); i += 2 {
		command, name := words[i], words[i+1]
		switch {
		case !slices.Contains(renameable, command):
			return bad("%s is none of the commands that can be renamed.", command)
		case taken[command]:
			return bad("%s is given more than once.", command)
		case len(name) > 20 || strings.ContainsFunc(name, notAlphanumeric):
			return bad("%s is not a name of at most 20 letters and digits.", name)
		case name != blockedWord && taken[" "+name]:
			return bad("%s is given to more than one command.", name)
		}
		taken[command], taken[" "+name] = true, true
	}
	return nil
}

// BlockedCommands are the commands, in order, that a value of rename-commands leaves to
// nobody. What else the value says is passed over; see OnlyBlocks.
func BlockedCommands(value string) []string {
	words := strings.Fields(strings.ToLower(value))
	var out []string
	for i := 0; i+1 < len(words); i += 2 {
		if words[i+1] == blockedWord && blockable(words[i]) {
			out = append(out, words[i])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// OnlyBlocks tells whether a value of rename-commands asks for nothing but commands to be
// blocked that the engines can keep from a user.
func OnlyBlocks(value string) bool {
	words := strings.Fields(value)
	if len(words)%2 != 0 {
		return false
	}
	for i := 0; i < len(words); i += 2 {
		if !strings.EqualFold(words[i+1], blockedWord) || !blockable(strings.ToLower(words[i])) {
			return false
		}
	}
	return true
}

// blockable: the engines answer AUTH to everybody, whatever the rules of the user.
func blockable(command string) bool {
	return command != "auth" && slices.Contains(renameable, command)
}

// Blocked is what a node is to be told of commands that nobody may give: "flushall keys".
func (s *Settings) Blocked() string {
	return strings.Join(BlockedCommands(s.Parameters[ParamRenameCommands]), " ")
}

// CommandsTold tells whether the node withholds the commands that its parameter group blocks.
func (c *CacheCluster) CommandsTold() bool { return c.Node.Blocked == c.Blocked() }
