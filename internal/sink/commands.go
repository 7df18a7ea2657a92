package sink

import (
	"math"
	"strconv"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// maxIdle is the largest idle time that RESTORE takes: engines keep it in 24 bits.
const maxIdle = 1<<24 - 1

// appendRestore appends the command that makes an entry, its payload stamped
// with an RDB version.
func appendRestore(dst []byte, e *flow.Entry, version int, replace bool) []byte {
	args := 5
	if replace {
		args++
	}
	if e.Idle >= 0 || e.Freq >= 0 {
		args += 2
	}
	dst = resp.AppendArray(dst, args)
	dst = append(dst, "$7\r\nRESTORE\r\n"...)
	dst = resp.AppendBulk(dst, e.Key)
	dst = resp.AppendInt(dst, expiry(e))
	dst = resp.AppendBulkHead(dst, 1+len(e.Value)+10)
	dst = rdb.AppendDump(dst, e.Type, e.Value, version)
	dst = resp.AppendEnd(dst)
	dst = append(dst, "$6\r\nABSTTL\r\n"...)
	if replace {
		dst = append(dst, "$7\r\nREPLACE\r\n"...)
	}
	switch {
	case e.Freq >= 0:
		dst = append(dst, "$4\r\nFREQ\r\n"...)
		dst = resp.AppendInt(dst, int64(min(e.Freq, math.MaxUint8)))
	case e.Idle >= 0:
		dst = append(dst, "$8\r\nIDLETIME\r\n"...)
		dst = resp.AppendInt(dst, min(e.Idle, maxIdle))
	}
	return dst
}

// expiry is the entry's expiry as commands take it: a time before 1970, which
// engines refuse, becomes its first millisecond, and means as much.
func expiry(e *flow.Entry) int64 {
	if e.ExpireAt < 0 {
		return 1
	}
	return e.ExpireAt
}

// appendSet appends the command that makes a plain string. PXAT came with Redis 6.2.
func appendSet(dst []byte, e *flow.Entry, text []byte) []byte {
	if e.ExpireAt == 0 {
		dst = append(dst, "*3\r\n$3\r\nSET\r\n"...)
		dst = resp.AppendBulk(dst, e.Key)
		return resp.AppendBulk(dst, text)
	}
	dst = append(dst, "*5\r\n$3\r\nSET\r\n"...)
	dst = resp.AppendBulk(dst, e.Key)
	dst = resp.AppendBulk(dst, text)
	dst = append(dst, "$4\r\nPXAT\r\n"...)
	return resp.AppendInt(dst, expiry(e))
}

// appendExpire appends the command that gives a key its expiry, on any version.
func appendExpire(dst []byte, e *flow.Entry) []byte {
	dst = append(dst, "*3\r\n$9\r\nPEXPIREAT\r\n"...)
	dst = resp.AppendBulk(dst, e.Key)
	return resp.AppendInt(dst, expiry(e))
}

// appendUnlink appends the command that deletes a key and leaves it to another
// thread to free its memory.
func appendUnlink(dst, key []byte) []byte {
	dst = append(dst, "*2\r\n$6\r\nUNLINK\r\n"...)
	return resp.AppendBulk(dst, key)
}

func appendAsking(dst []byte) []byte { return append(dst, "*1\r\n$6\r\nASKING\r\n"...) }

func appendSelect(dst []byte, db int) []byte {
	dst = append(dst, "*2\r\n$6\r\nSELECT\r\n"...)
	return resp.AppendString(dst, strconv.Itoa(db))
}
