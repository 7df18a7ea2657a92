package rdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// OpenDump is ParseDump of a payload of size bytes that lies in a file: the whole
// of it is read for its checksum, in constant memory, before anything is handed
// out. Value stays nil; body reads the value, as Entry.Body does.
func OpenDump(payload io.ReaderAt, size int64) (d Dump, body *io.SectionReader, err error) {
	if size < 1+dumpFooter {
		return Dump{}, nil, &Error{Offset: size, Msg: "DUMP payload", Err: ErrTruncated}
	}
	var ends [1 + dumpFooter]byte
	if err := readAt(payload, ends[:1], 0); err != nil {
		return Dump{}, nil, err
	}
	if err := readAt(payload, ends[1:], size-dumpFooter); err != nil {
		return Dump{}, nil, err
	}
	got, err := crcOf(io.NewSectionReader(payload, 0, size-8))
	if err != nil {
		return Dump{}, nil, err
	}
	if want := binary.LittleEndian.Uint64(ends[3:]); got != want {
		return Dump{}, nil, &Error{
			Offset: size - 8, Err: ErrChecksum,
			Msg: fmt.Sprintf("the payload says %016x, its content gives %016x", want, got),
		}
	}
	d = Dump{Type: ends[0], Version: int(binary.LittleEndian.Uint16(ends[1:]))}
	if h := HeaderOf(d.Version); !h.known() {
		return Dump{}, nil, &Error{Offset: size - dumpFooter, Msg: "DUMP payload", Err: &VersionError{Header: h}}
	}
	return d, io.NewSectionReader(payload, 1, size-1-dumpFooter), nil
}

func readAt(r io.ReaderAt, p []byte, at int64) error {
	if n, err := r.ReadAt(p, at); n < len(p) {
		return fmt.Errorf("cannot read a DUMP payload: %w", err)
	}
	return nil
}

// crcOf is the checksum of all that r reads.
func crcOf(r io.Reader) (crc uint64, err error) {
	buf := make([]byte, bufferSize)
	for {
		n, err := r.Read(buf)
		crc = CRC64(crc, buf[:n])
		if errors.Is(err, io.EOF) {
			return crc, nil
		}
		if err != nil {
			return 0, fmt.Errorf("cannot read a DUMP payload: %w", err)
		}
	}
}
