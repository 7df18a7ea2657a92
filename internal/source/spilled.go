package source

import (
	"bytes"
	"errors"
	"io"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
)

// A value that a server gives as one string is held in memory up to spillAbove
// bytes, together with those that came with it; what is larger is written to a file
// as it comes, and the entry reads it from there. What that cannot spare is the
// server's own memory: DUMP makes the whole payload there before a byte is sent,
// beside the value itself, and strings stand in the output buffer as a whole.
//
// It is a variable so that tests can see every road with values of a few kilobytes.
var spillAbove = 4 << 20

// takeDump makes an entry's type, value and version of DUMP's reply. False says that
// there is nothing in it, so that the key is as good as gone.
func takeDump(e *flow.Entry, r *resp.Reply) (bool, error) {
	if file := r.Spilled(); file != nil {
		d, body, err := rdb.OpenDump(file, file.Size())
		if err != nil {
			return false, err
		}
		e.Type, e.Value, e.Version, e.Body = d.Type, nil, d.Version, body
		return true, nil
	}
	d, err := rdb.ParseDump(r.Bytes)
	if err != nil {
		return false, err
	}
	e.Type, e.Value, e.Version, e.Body = d.Type, d.Value, d.Version, nil
	return !rdb.EmptyCollection(d.Type, d.Value), nil
}

// takeString makes them of a string that came as it is; its value is made in text.
func takeString(e *flow.Entry, r *resp.Reply, text *[]byte) {
	e.Type, e.Version = rdb.TypeString, stringVersion
	if file := r.Spilled(); file != nil {
		head := rdb.AppendLength(nil, uint64(file.Size()))
		e.Value, e.Body = nil, &sized{io.MultiReader(bytes.NewReader(head), file), int64(len(head)) + file.Size()}
		return
	}
	*text = rdb.AppendString((*text)[:0], r.Bytes)
	e.Value, e.Body = *text, nil
}

// text is a string that is no value, and is held wherever it came to lie.
func text(r *resp.Reply) ([]byte, error) {
	file := r.Spilled()
	if file == nil {
		return r.Bytes, nil
	}
	b := make([]byte, file.Size())
	if _, err := file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, &resp.SpillError{Err: err}
	}
	return b, nil
}

// sized is a reader that knows how long it is, as an io.SectionReader does.
type sized struct {
	io.Reader
	size int64
}

// Size is the number of bytes that are read in all.
func (s *sized) Size() int64 { return s.size }

// sizeOf is an entry's size with that of its body, if the body knows.
func sizeOf(e *flow.Entry) int64 {
	n := int64(e.Size())
	if b, ok := e.Body.(interface{ Size() int64 }); ok {
		n += b.Size()
	}
	return n
}
