package rdb_test

import (
	"fmt"
	"strings"
	"testing"
)

// fill writes every type in every encoding that the engine can be made to use.
func fill(t testing.TB, e *engine) {
	t.Helper()
	long := strings.Repeat("x", 3000)
	e.Must("SET", "str:plain", "hello")
	e.Must("SET", "str:empty", "")
	for i, n := range []string{"0", "-1", "127", "-128", "128", "32767", "-32768", "32768", "2147483647", "-2147483648", "2147483648", "9223372036854775807", "-0", "007"} {
		e.Must("SET", fmt.Sprintf("str:int:%d", i), n)
	}
	e.Must("SET", "12345", "key that is a number")
	e.Must("SET", "str:lzf", long)
	e.Must("SET", strings.Repeat("longkey", 100), "v")
	e.Must("SET", "str:binary", "\x00\xff\r\n\x80")
	e.Must("SETBIT", "str:bits", 4000, 1)
	for i := range 200 {
		e.Must("PFADD", "str:hll", i)
	}
	e.Must("SET", "ttl:ms", "v", "PX", 100_000_000)
	e.Must("SET", "ttl:s", "v", "EX", 100_000)
	for i := range 5 {
		e.Must("RPUSH", "list:small", i, fmt.Sprintf("item%d", i))
	}
	for i := range 2000 {
		e.Must("RPUSH", "list:long", fmt.Sprintf("item:%d", i), i*1000-1_000_000, long[:i%70])
	}
	e.Must("RPUSH", "list:big", strings.Repeat("y", 20000), "small", strings.Repeat("z", 9000), -5, 70000, 9_000_000, 1<<40, -(1 << 60))
	if _, err := e.Try("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "200B"); err == nil {
		e.Must("RPUSH", "list:plain", "a", strings.Repeat("p", 500), "b", strings.Repeat("q", 300), strings.Repeat("pq", 300))
		e.Must("DEBUG", "QUICKLIST-PACKED-THRESHOLD", 0)
	}
	e.Must("SADD", "set:ints16", 1, 2, -300)
	e.Must("SADD", "set:ints32", 1, 70000)
	e.Must("SADD", "set:ints64", 1, int64(1)<<40)
	e.Must("SADD", "set:small", "a", "b", 3)
	for i := range 1000 {
		e.Must("SADD", "set:big", fmt.Sprintf("member:%d", i), i)
		e.Must("HSET", "hash:big", fmt.Sprintf("field:%d", i), fmt.Sprintf("value:%d", i), i, -i)
		e.Must("ZADD", "zset:big", float64(i)/3, fmt.Sprintf("member:%d", i), -i, i)
	}
	e.Must("HSET", "hash:small", "f", "v", "1", "-2", "empty", "", "long", long[:60])
	e.Must("HSET", "hash:longvalue", "f", long)
	e.Must("ZADD", "zset:small", 1, "one", 2.5, "two and a half", "-inf", "lowest", "+inf", "highest", 1e300, "huge", -0.1, 7)
	e.Must("GEOADD", "zset:geo", 13.361389, 38.115556, "Palermo")
	fillStreams(e)
	e.Must("SELECT", 5)
	e.Must("SET", "other:db", "v")
	e.Must("HSET", "str:plain", "not", "a string here")
	e.Must("SELECT", 0)
	if e.Build.FieldTTL {
		e.words("HSET httl:small a 1 b 2 c 3")
		e.words("HPEXPIREAT httl:small 1900000000123 FIELDS 1 a")
		e.words("HPEXPIREAT httl:small 1900000000999 FIELDS 1 c")
		for i := range 800 {
			e.Must("HSET", "httl:big", fmt.Sprintf("field:%d", i), i)
			if i%3 == 0 {
				e.Must("HPEXPIREAT", "httl:big", 1_900_000_000_000+i, "FIELDS", 1, fmt.Sprintf("field:%d", i))
			}
		}
	}
	// A vector set is a module's value to the file; Redis 8 alone has them.
	for i := range 20 {
		if _, err := e.Try("VADD", "vector", "VALUES", 3, i, i*i, 1, fmt.Sprint("element", i)); err != nil {
			break
		}
	}
	if e.Build.Functions {
		e.Must("FUNCTION", "LOAD", "#!lua name=mylib\nredis.register_function('f', function() return 1 end)")
	}
}

func fillStreams(e *engine) {
	for i := range 250 {
		e.Must("XADD", "stream:big", fmt.Sprintf("%d-%d", 1000+i/3, i%3*10+1), "temperature", i, "note", fmt.Sprintf("n%d", i))
		if i%10 == 0 {
			e.Must("XADD", "stream:big", fmt.Sprintf("%d-%d", 1000+i/3, i%3*10+2), "other", "fields", "12", "34", "x", i*7919-900_000)
		}
	}
	e.words("XDEL stream:big 1000-2 1010-11")
	e.words("XADD stream:small 5-0 f v")
	e.words("XADD stream:empty 7-7 f v")
	e.words("XDEL stream:empty 7-7")
	e.words("XGROUP CREATE stream:big g1 0")
	e.words("XGROUP CREATE stream:big g2 1020-0")
	e.words("XGROUP CREATE stream:empty g $")
	e.words("XREADGROUP GROUP g1 alice COUNT 7 STREAMS stream:big >")
	e.words("XREADGROUP GROUP g1 bob COUNT 3 STREAMS stream:big >")
	e.words("XREADGROUP GROUP g1 bob COUNT 1 STREAMS stream:big 0")
	e.words("XACK stream:big g1 1000-11")
	e.words("XREADGROUP GROUP g2 carol COUNT 2 NOACK STREAMS stream:big >")
}
