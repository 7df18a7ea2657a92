package discovery

import "encoding/binary"

// The binary protocol: a header of 24 bytes, and a body whose length it tells.
const (
	headerSize   = 24
	magicRequest = 0x80
	magicReply   = 0x81

	opGet       = 0x00
	opNoop      = 0x0a
	opGetKey    = 0x0c
	opConfigGet = 0x60
	opConfigSet = 0x64
	opConfigDel = 0x66

	statusMissing = 0x01
	statusUnknown = 0x81
)

// header is what is read of one.
type header struct {
	magic, op    byte
	key, extras  int
	status       uint16
	body         int64
	opaque       uint32
	known, whole bool
}

func readHeader(b []byte) header {
	if len(b) < headerSize {
		return header{}
	}
	return header{
		magic: b[0], op: b[1], key: int(binary.BigEndian.Uint16(b[2:])), extras: int(b[4]),
		status: binary.BigEndian.Uint16(b[6:]), body: int64(binary.BigEndian.Uint32(b[8:])),
		opaque: binary.BigEndian.Uint32(b[12:]), known: true,
		whole: int64(len(b)) >= headerSize+int64(binary.BigEndian.Uint32(b[8:])),
	}
}

// binaryRequests finds the requests in what a client sends in the binary protocol.
type binaryRequests struct{ skip int64 }

func (t *binaryRequests) next(b []byte) (n int, what request) {
	if t.skip > 0 {
		n = int(min(t.skip, int64(len(b))))
		t.skip -= int64(n)
		return n, request{}
	}
	h := readHeader(b)
	if !h.known {
		return 0, request{}
	}
	// A body that no buffer holds is none of ours.
	if h.mayBeOurs() && h.body <= longestLine {
		if !h.whole {
			return 0, request{}
		}
		if r, yes := h.ours(b[headerSize : headerSize+int(h.body)]); yes {
			return headerSize + int(h.body), request{kind: ours, reply: r, op: h.op, opaque: h.opaque}
		}
	}
	t.skip = h.body
	if h.op == opNoop {
		return headerSize, request{kind: versionAsked}
	}
	return headerSize, request{}
}

func (h header) mayBeOurs() bool {
	switch h.op {
	case opConfigGet, opConfigSet, opConfigDel:
		return true
	case opGet, opGetKey:
		return h.key == len(legacyKey)
	}
	return false
}

// ours tells how a request is answered by us, if it is.
func (h header) ours(body []byte) (r reply, yes bool) {
	if h.extras+h.key > len(body) {
		return 0, false // memcached says what it thinks of it
	}
	key := string(body[h.extras : h.extras+h.key])
	switch {
	case h.op == opConfigGet && key == "cluster":
		return configBinary, true
	case h.op == opConfigGet:
		return emptyBinary, true
	case h.op == opGet && key == legacyKey:
		return configBinary, true
	case h.op == opGetKey && key == legacyKey:
		return legacyBinaryKey, true
	case h.op == opConfigSet || h.op == opConfigDel:
		return refusedBinary, true
	}
	return 0, false
}

// binaryReplies finds the answers to no-ops in what memcached sends.
type binaryReplies struct{ skip int64 }

func (t *binaryReplies) next(b []byte) (n int, marked bool) {
	if t.skip > 0 {
		n = int(min(t.skip, int64(len(b))))
		t.skip -= int64(n)
		return n, false
	}
	h := readHeader(b)
	switch {
	case !h.known:
		return 0, false
	case h.op != opNoop || h.body > longestLine:
		t.skip = h.body
		return headerSize, false
	case !h.whole:
		return 0, false
	}
	return headerSize + int(h.body), true
}

// binaryReply frames an answer.
func binaryReply(op byte, status uint16, opaque uint32, key string, value []byte) []byte {
	extras := 0
	if status == 0 {
		extras = 4 // flags, 0
	}
	out := make([]byte, headerSize+extras, headerSize+extras+len(key)+len(value))
	out[0], out[1], out[4] = magicReply, op, byte(extras)
	binary.BigEndian.PutUint16(out[2:], uint16(len(key)))
	binary.BigEndian.PutUint16(out[6:], status)
	binary.BigEndian.PutUint32(out[8:], uint32(extras+len(key)+len(value)))
	binary.BigEndian.PutUint32(out[12:], opaque)
	return append(append(out, key...), value...)
}
