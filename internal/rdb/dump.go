package rdb

import (
	"encoding/binary"
	"fmt"
)

// dumpFooter is the length of what ends a DUMP payload: version and CRC64, little-endian.
const dumpFooter = 2 + 8

// Dump is a value as DUMP returns it and RESTORE takes it.
type Dump struct {
	Type    byte
	Value   []byte
	Version int
}

// AppendDump appends the payload that RESTORE takes for a value: type, value,
// version, CRC64. The version is that of the value's dialect; an engine refuses
// a version newer than its own.
func AppendDump(dst []byte, typ byte, value []byte, version int) []byte {
	from := len(dst)
	dst = grow(dst, 1+len(value)+dumpFooter)
	dst = append(dst, typ)
	dst = append(dst, value...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(version))
	return binary.LittleEndian.AppendUint64(dst, CRC64(0, dst[from:]))
}

// ParseDump takes a payload apart after checking its checksum and version. The
// value is a part of the payload.
func ParseDump(payload []byte) (Dump, error) {
	n := len(payload)
	if n < 1+dumpFooter {
		return Dump{}, &Error{Offset: int64(n), Msg: "DUMP payload", Err: ErrTruncated}
	}
	body := n - dumpFooter
	d := Dump{
		Type:    payload[0],
		Value:   payload[1:body:body],
		Version: int(binary.LittleEndian.Uint16(payload[body:])),
	}
	want := binary.LittleEndian.Uint64(payload[n-8:])
	if got := CRC64(0, payload[:n-8]); got != want {
		return Dump{}, &Error{
			Offset: int64(n - 8), Err: ErrChecksum,
			Msg: fmt.Sprintf("the payload says %016x, its content gives %016x", want, got),
		}
	}
	if h := HeaderOf(d.Version); !h.known() {
		return Dump{}, &Error{Offset: int64(body), Msg: "DUMP payload", Err: &VersionError{Header: h}}
	}
	return d, nil
}

// CheckValue tells whether value is one whole value of its type: what a payload
// of unknown origin must pass before it is written into a file, where a value
// of the wrong length would spoil all that follows.
func CheckValue(typ byte, version int, value []byte) error {
	c := cursor{buf: value}
	if err := c.skipValue(typ, version); err != nil {
		return err
	}
	if c.pos != len(value) {
		return c.fail(fmt.Sprintf("%d bytes follow the value", len(value)-c.pos), ErrCorrupt)
	}
	return nil
}
