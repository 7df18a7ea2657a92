package discovery

import "encoding/binary"

// request is what one is to the front.
type request struct {
	kind  kind
	reply reply
	// op and opaque of a binary request, which its answer repeats.
	op     byte
	opaque uint32
}

type kind byte

const (
	// passed on.
	passed kind = iota
	// versionAsked is passed on too, and looks like what is asked in the place of ours.
	versionAsked
	// ours is answered here.
	ours
)

// reply is which answer a request of ours gets.
type reply byte

const (
	configText reply = iota + 1
	legacyText
	emptyText
	refusedText
	configBinary
	legacyBinaryKey
	emptyBinary
	refusedBinary
)

// ask is what memcached is asked in the place of a request of ours.
func (q request) ask() []byte {
	if q.reply < configBinary {
		return []byte("version\r\n")
	}
	b := make([]byte, headerSize)
	b[0], b[1] = magicRequest, opNoop
	return b
}

// answer is what the client gets in the place of memcached's own answer to ask.
func (q request) answer(list, own []byte) []byte {
	switch q.reply {
	case configText:
		return asText("CONFIG cluster", list)
	case legacyText:
		return asText("VALUE "+legacyKey, list)
	case emptyText:
		return []byte("END\r\n")
	case refusedText:
		return []byte("ERROR\r\n")
	}
	if h := readHeader(own); h.status != 0 { // memcached does not let this client in
		out := append([]byte(nil), own...)
		out[1] = q.op
		binary.BigEndian.PutUint32(out[12:], q.opaque)
		return out
	}
	switch q.reply {
	case configBinary:
		return binaryReply(q.op, 0, q.opaque, "", list)
	case legacyBinaryKey:
		return binaryReply(q.op, 0, q.opaque, legacyKey, list)
	case emptyBinary:
		return binaryReply(q.op, statusMissing, q.opaque, "", []byte("Not found"))
	}
	return binaryReply(q.op, statusUnknown, q.opaque, "", []byte("Unknown command"))
}
