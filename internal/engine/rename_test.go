package engine_test

import (
	"slices"
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/engine"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/resp"
)

// calls are all commands that can be blocked, each as an engine would take it but for the
// rights: it looks at the number of words first, and at names of subcommands.
func (b *bench) calls(admin *resp.Conn) [][]string {
	b.t.Helper()
	withSub := strings.Fields("client cluster command memory object pubsub script slowlog xgroup xinfo")
	names := cache.BlockedCommands(blockAll())
	info, err := admin.Do(b.context(), append([]string{"COMMAND", "INFO"}, names...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	var out [][]string
	for i, name := range names {
		if len(info.Elems[i].Elems) < 2 {
			b.t.Fatalf("the engine has no command %s", name)
		}
		call := []string{name}
		for n := max(info.Elems[i].Elems[1].Int, -info.Elems[i].Elems[1].Int); int64(len(call)) < n; {
			call = append(call, "x")
		}
		if slices.Contains(withSub, name) {
			call = []string{name, "help"}
		}
		out = append(out, call)
	}
	return out
}

// blockAll blocks what can be blocked.
func blockAll() string {
	p, _ := cache.FindParameter("redis7", cache.ParamRenameCommands)
	var pairs []string
	for _, c := range catalogOfCommands {
		if v := c + " blocked"; p.Check(v) == nil && cache.OnlyBlocks(v) {
			pairs = append(pairs, v)
		}
	}
	return strings.Join(pairs, " ")
}

// What rename-commands blocks nobody can give, whatever he may do besides, until it is
// blocked no more: by every command that ElastiCache has in its list, on every build.
func TestBlockedCommands(t *testing.T) {
	each(t, func(t *testing.T, b *bench, build catalog.Build) {
		spec := b.spec(build, "orders-001")
		p := b.up(spec)
		admin := b.login(spec.Address.Host, spec.Address.Port, engine.AdminUser, secret)
		anybody := b.client(spec.Address.Host, spec.Address.Port)
		calls := b.calls(admin)
		if len(calls) < 150 {
			t.Fatalf("only %d commands can be blocked", len(calls))
		}
		refuses := func(c *resp.Conn, who string) {
			t.Helper()
			for _, call := range append(calls, []string{"EVAL", "return redis.call('get', KEYS[1])", "1", "key"}) {
				_, err := c.Do(b.context(), call...)
				if err != nil && !resp.IsServerError(err) {
					t.Fatalf("%s with %s: %v", who, strings.Join(call, " "), err)
				}
				if !noPermission(err) {
					t.Errorf("%s with %s: %v", who, strings.Join(call, " "), err)
				}
			}
		}
		b.do(anybody, "KEYS", "*")

		spec.Parameters["rename-commands"] = blockAll()
		b.grants(spec)
		refuses(anybody, "anybody who is connected")
		b.do(admin, "KEYS", "*")
		b.down(spec, &p)
		p = b.up(spec)
		refuses(b.client(spec.Address.Host, spec.Address.Port), "anybody after a start")

		spec.Parameters["rename-commands"] = "KEYS blocked flushall Blocked"
		bob := as("bob", "pass-2")
		if !strings.HasPrefix(build.Version, "6.") {
			bob.Rules = append(bob.Rules, "(~* +@all)")
		}
		spec.Access = only(bob)
		b.grants(spec, "default")
		c := b.login(spec.Address.Host, spec.Address.Port, "bob", "pass-2")
		for _, call := range [][]string{{"KEYS", "*"}, {"FLUSHALL"}, {"flushall", "async"}} {
			if _, err := c.Do(b.context(), call...); !noPermission(err) {
				t.Errorf("bob with %s: %v", call, err)
			}
		}
		b.do(c, "SET", "key", "1")

		delete(spec.Parameters, "rename-commands")
		b.grants(spec)
		b.do(c, "KEYS", "*")
		b.do(c, "FLUSHALL")
		if missing, err := b.Unapplied(b.context(), spec); err != nil || len(missing) > 0 {
			t.Errorf("not applied: %v, %v", missing, err)
		}
		b.down(spec, &p)
	})
}

// catalogOfCommands is ElastiCache's list of those that can be renamed.
var catalogOfCommands = strings.Fields(`APPEND AUTH BITCOUNT BITFIELD BITOP BITPOS BLPOP BRPOP BRPOPLPUSH BZPOPMIN BZPOPMAX CLIENT
	CLUSTER COMMAND DBSIZE DECR DECRBY DEL DISCARD DUMP ECHO EVAL EVALSHA EXEC EXISTS EXPIRE EXPIREAT FLUSHALL FLUSHDB GEOADD
	GEOHASH GEOPOS GEODIST GEORADIUS GEORADIUSBYMEMBER GET GETBIT GETRANGE GETSET HDEL HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT
	HKEYS HLEN HMGET HMSET HSET HSETNX HSTRLEN HVALS INCR INCRBY INCRBYFLOAT INFO KEYS LASTSAVE LINDEX LINSERT LLEN LPOP LPUSH
	LPUSHX LRANGE LREM LSET LTRIM MEMORY MGET MONITOR MOVE MSET MSETNX MULTI OBJECT PERSIST PEXPIRE PEXPIREAT PFADD PFCOUNT
	PFMERGE PING PSETEX PSUBSCRIBE PUBSUB PTTL PUBLISH PUNSUBSCRIBE RANDOMKEY READONLY READWRITE RENAME RENAMENX RESTORE ROLE
	RPOP RPOPLPUSH RPUSH RPUSHX SADD SCARD SCRIPT SDIFF SDIFFSTORE SELECT SET SETBIT SETEX SETNX SETRANGE SINTER SINTERSTORE
	SISMEMBER SLOWLOG SMEMBERS SMOVE SORT SPOP SRANDMEMBER SREM STRLEN SUBSCRIBE SUNION SUNIONSTORE SWAPDB TIME TOUCH TTL TYPE
	UNSUBSCRIBE UNLINK UNWATCH WAIT WATCH ZADD ZCARD ZCOUNT ZINCRBY ZINTERSTORE ZLEXCOUNT ZPOPMAX ZPOPMIN ZRANGE ZRANGEBYLEX
	ZREVRANGEBYLEX ZRANGEBYSCORE ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZREVRANK
	ZSCORE ZUNIONSTORE SCAN SSCAN HSCAN ZSCAN XINFO XADD XTRIM XDEL XRANGE XREVRANGE XLEN XREAD XGROUP XREADGROUP XACK XCLAIM
	XPENDING GEORADIUS_RO GEORADIUSBYMEMBER_RO LOLWUT XSETID SUBSTR`)
