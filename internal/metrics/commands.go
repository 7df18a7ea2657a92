package metrics

import "strings"

// families are the commands of each kind that has figures of its own, named as the engines
// have them in their categories.
var families = map[string]string{
	"StringBased": `append decr decrby delifeq get getdel getex getrange getset incr incrby incrbyfloat lcs mget mset msetex
		msetnx psetex set setex setnx setrange stralgo strlen substr bitcount bitfield bitfield_ro bitop bitpos getbit setbit`,
	"KeyBased": `copy del dump exists expire expireat expiretime keys migrate move object persist pexpire pexpireat
		pexpiretime pttl randomkey rename renamenx restore scan clusterscan touch ttl type unlink`,
	"ListBased": `blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem
		lset ltrim rpop rpoplpush rpush rpushx`,
	"SortedSetBased": `bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore
		zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex
		zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore`,
	"SetBased": `sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop
		srandmember srem sscan sunion sunionstore`,
	"HashBased": `hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen
		hmget hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals`,
	"StreamBased": `xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid
		xtrim`,
	"GeoSpatialBased": `geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro
		geosearch geosearchstore`,
	"HyperLogLogBased": `pfadd pfcount pfdebug pfmerge pfselftest`,
	"PubSubBased":      `psubscribe publish pubsub punsubscribe spublish ssubscribe subscribe sunsubscribe unsubscribe`,
	"EvalBased":        `eval eval_ro evalsha evalsha_ro fcall fcall_ro script function`,
	"ClusterBased":     `cluster asking readonly readwrite`,
}

// The commands that read keys, and those that write them, of whatever kind.
const (
	reading = `bitcount bitfield_ro bitpos dump exists expiretime geodist geohash geopos georadius_ro georadiusbymember_ro
		geosearch get getbit getrange hexists hexpiretime hget hgetall hkeys hlen hmget hpexpiretime hpttl hrandfield hscan hstrlen
		httl hvals lcs lindex llen lpos lrange mget object pexpiretime pfcount pttl scard sdiff sinter sintercard sismember
		smembers smismember sort_ro srandmember sscan stralgo strlen substr sunion touch ttl type xinfo xlen xpending xrange xread
		xrevrange zcard zcount zdiff zinter zintercard zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank
		zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion`
	writing = `append bitfield bitop blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin copy decr decrby del
		delifeq expire expireat geoadd georadius georadiusbymember geosearchstore getdel getex getset hdel hexpire hexpireat
		hgetdel hgetex hincrby hincrbyfloat hmset hpersist hpexpire hpexpireat hset hsetex hsetnx incr incrby incrbyfloat linsert
		lmove lmpop lpop lpush lpushx lrem lset ltrim migrate move mset msetex msetnx persist pexpire pexpireat pfadd pfmerge
		psetex rename renamenx restore rpop rpoplpush rpush rpushx sadd sdiffstore set setbit setex setnx setrange sinterstore
		smove sort spop srem sunionstore unlink xack xadd xautoclaim xclaim xdel xgroup xreadgroup xsetid xtrim zadd zdiffstore
		zincrby zinterstore zmpop zpopmax zpopmin zrangestore zrem zremrangebylex zremrangebyrank zremrangebyscore zunionstore`
	// keyless are those that concern no key.
	keyless = `acl auth client command config dbsize echo flushall flushdb hello info lastsave latency lolwut memory ping
		role select slowlog swapdb time wait waitaof discard exec multi unwatch watch module monitor`
)

// kinds are the prefixes of the figures that a command counts for.
var kinds = func() map[string][]string {
	out := map[string][]string{}
	add := func(kind, commands string) {
		for _, c := range strings.Fields(commands) {
			out[c] = append(out[c], kind)
		}
	}
	for family, commands := range families {
		add(family, commands)
	}
	add("GetType", reading)
	add("SetType", writing)
	add("NonKeyType", keyless)
	return out
}()

// kindsOf are those of a command as INFO names it: "config|get" is config's.
func kindsOf(stat string) []string {
	command, _, _ := strings.Cut(stat, "|")
	return kinds[strings.ToLower(command)]
}

// removing are the commands that may leave fewer keys than there were, by themselves or by
// what they take out of a value.
const removing = `del delifeq unlink flushall flushdb swapdb move migrate rename renamenx getdel getex expire expireat pexpire
	pexpireat restore eval evalsha fcall lpop rpop lmpop blpop brpop blmpop lmove blmove rpoplpush brpoplpush lrem ltrim spop srem
	smove zpopmin zpopmax bzpopmin bzpopmax zmpop bzmpop zrem zremrangebylex zremrangebyrank zremrangebyscore hdel hgetdel
	hexpire hpexpire hexpireat hpexpireat sdiffstore sinterstore sunionstore zdiffstore zinterstore zunionstore zrangestore
	geosearchstore georadius georadiusbymember sort bitop`

var removers = func() map[string]bool {
	out := map[string]bool{}
	for _, c := range strings.Fields(removing) {
		out[c] = true
	}
	return out
}()

// MayRemove tells whether a command, as INFO names it, may leave fewer keys than there were.
func MayRemove(stat string) bool {
	command, _, _ := strings.Cut(stat, "|")
	return removers[strings.ToLower(command)]
}

// Removals is how often such commands were called since an earlier reading of the same process.
func (r *Reading) Removals(before *Reading) int64 {
	var n float64
	for name, value := range r.Fields {
		stat, ok := strings.CutPrefix(name, "cmdstat_")
		if !ok || !MayRemove(stat) {
			continue
		}
		now, _ := parse(list(value)["calls"])
		then, _ := parse(list(before.Fields[name])["calls"])
		n += max(now-then, 0)
	}
	return int64(n)
}
