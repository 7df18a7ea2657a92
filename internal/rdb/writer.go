package rdb

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Writer writes one RDB file. The order that engines expect is: Aux fields,
// ModuleAux, Functions, then entries by database. Any failure is final and is
// returned again by Close. It is not safe for use by several goroutines at once.
type Writer struct {
	w      io.Writer
	header Header
	buf    []byte
	sum    uint64
	off    int64
	db     int // -1 before the first
	err    error
	closed bool
	// tr makes values readable for the target; nil where they are written as they are.
	tr *Transcoder
}

// NewWriter begins a file of a version and dialect. Nothing is written to w
// before the first flush.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	if !h.known() {
		return nil, fmt.Errorf("cannot write an RDB file: %w", &VersionError{Header: h})
	}
	wr := &Writer{w: w, header: h, buf: make([]byte, 0, bufferSize), db: -1}
	wr.buf = append(wr.buf, h.String()...)
	return wr, nil
}

// NewTargetWriter begins a file for a target. Its Write takes values of any
// version and dialect, told by Entry.Version, and transcodes those that the
// target does not read as they are.
func NewTargetWriter(w io.Writer, t Target) (*Writer, error) {
	wr, err := NewWriter(w, HeaderOf(t.Version))
	if err != nil {
		return nil, err
	}
	wr.tr, err = NewTranscoder(t)
	return wr, err
}

// Stats returns what the writer of a target has transcoded.
func (w *Writer) Stats() TranscodeStats {
	if w.tr == nil {
		return TranscodeStats{}
	}
	return w.tr.Stats()
}

// flushAt is how full the buffer gets before it is handed on.
const flushAt = bufferSize - 4096

// flush hands the buffer on.
func (w *Writer) flush() error {
	if w.err != nil {
		return w.err
	}
	w.sum = CRC64(w.sum, w.buf)
	n, err := w.w.Write(w.buf)
	w.off += int64(n)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("cannot write the RDB file at byte %d: %w", w.off, err)
		return w.err
	}
	w.buf = w.buf[:0]
	return nil
}

func (w *Writer) settle() error {
	if w.err == nil && w.closed {
		w.err = fmt.Errorf("cannot write to an RDB file that is closed")
	}
	if w.err != nil || len(w.buf) < flushAt {
		return w.err
	}
	return w.flush()
}

// Aux writes an informational field.
func (w *Writer) Aux(name, value string) error {
	w.buf = append(w.buf, opAux)
	w.buf = AppendString(w.buf, []byte(name))
	w.buf = AppendString(w.buf, []byte(value))
	return w.settle()
}

// Function writes a library. The form of release candidates is written as the
// final form, since no release loads the other. A *LossError says that
// readers of this version have no functions.
func (w *Writer) Function(f FunctionLibrary) error {
	if !w.header.Valkey && w.header.Version < 10 {
		lost := Target{Version: w.header.Version}.lost(LossFunctions, "which came with version 10")
		return fmt.Errorf("cannot write a function library: %w", lost)
	}
	w.buf = append(w.buf, opFunction2)
	if f.PreRelease {
		code, err := f.Code()
		if err != nil {
			return err
		}
		w.buf = AppendString(w.buf, []byte(code))
	} else {
		w.buf = append(w.buf, f.Raw...)
	}
	return w.settle()
}

// ModuleAux writes a module's own data as Reader.ModuleAux returned it. In a
// file for a target without the modules it is a *LossError: engines end
// themselves over data of a module that they lack.
func (w *Writer) ModuleAux(raw []byte) error {
	if w.tr != nil && !w.tr.target.Modules {
		return fmt.Errorf("cannot write a module's data: %w", w.tr.target.lost(LossModuleAux, ""))
	}
	w.buf = append(w.buf, opModuleAux)
	w.buf = append(w.buf, raw...)
	return w.settle()
}

// SelectDB begins a database. With keys >= 0 the engine is told how many keys
// and volatile keys will come, so that it makes room once.
func (w *Writer) SelectDB(db int, keys, volatile int64) error {
	if db < 0 {
		return fmt.Errorf("cannot write database number %d", db)
	}
	w.db = db
	w.buf = append(w.buf, opSelectDB)
	w.buf = AppendLength(w.buf, uint64(db))
	if keys >= 0 && (w.header.Valkey || w.header.Version >= 7) {
		w.buf = append(w.buf, opResizeDB)
		w.buf = AppendLength(w.buf, uint64(keys))
		w.buf = AppendLength(w.buf, uint64(max(volatile, 0)))
	}
	return w.settle()
}

// Write writes one entry, and selects its database where that changes. The
// value is written as it is, or as the target of NewTargetWriter reads it. A
// type that readers of this file's version do not know is an ErrType, for a
// target a *LossError; nothing of the entry is written then.
//
// An entry with a Body is written as its bytes come; a failure of them spoils the
// file, and is final like any other.
func (w *Writer) Write(e *Entry) error {
	if e.Body != nil {
		return w.writeBody(e)
	}
	typ, value, err := w.readable(e)
	if err != nil {
		return err
	}
	if err := w.head(e, typ); err != nil {
		return err
	}
	return w.value(value)
}

// head writes what stands in front of a value.
func (w *Writer) head(e *Entry, typ byte) error {
	if e.DB != w.db {
		if err := w.SelectDB(e.DB, -1, 0); err != nil {
			return err
		}
	}
	if e.ExpireAt != 0 {
		w.buf = append(w.buf, opExpireMs)
		w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(e.ExpireAt))
	}
	if w.header.Valkey || w.header.Version >= 9 {
		if e.Idle >= 0 {
			w.buf = append(w.buf, opIdle)
			w.buf = AppendLength(w.buf, uint64(e.Idle))
		}
		if e.Freq >= 0 {
			w.buf = append(w.buf, opFreq, byte(min(e.Freq, 255)))
		}
	}
	w.buf = append(w.buf, typ)
	w.buf = AppendString(w.buf, e.Key)
	return nil
}

// readable returns type and value of an entry as the file's readers take them.
func (w *Writer) readable(e *Entry) (byte, []byte, error) {
	from := e.Version
	if from == 0 {
		from = w.header.Version
	}
	if w.tr == nil {
		sameDialect := (from >= ValkeyVersion) == w.header.Valkey
		if !Supports(w.header.Version, e.Type) || e.Type >= TypeHashTTLRC && !sameDialect {
			return 0, nil, fmt.Errorf("cannot write a value of type %d into %s: %w", e.Type, w.header, ErrType)
		}
		return e.Type, e.Value, nil
	}
	typ, value, err := w.tr.Transcode(e.Type, from, e.Value)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot write a value of type %d into %s: %w", e.Type, w.header, err)
	}
	return typ, value, nil
}

// value writes a value; one larger than the buffer goes past it.
func (w *Writer) value(v []byte) error {
	if len(w.buf)+len(v) <= cap(w.buf) {
		w.buf = append(w.buf, v...)
		return w.settle()
	}
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	own := w.buf
	w.buf = v
	err := w.flush()
	w.buf = own[:0]
	return err
}

// Offset is how many bytes of the file were written or wait in the buffer.
func (w *Writer) Offset() int64 { return w.off + int64(len(w.buf)) }

// Close writes the end mark and the checksum. It does not close the writer
// below. A second Close does nothing.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	w.buf = append(w.buf, opEOF)
	if err := w.flush(); err != nil {
		return err
	}
	if w.header.Valkey || w.header.Version >= 5 {
		w.buf = binary.LittleEndian.AppendUint64(w.buf, w.sum)
		return w.flush()
	}
	return nil
}
