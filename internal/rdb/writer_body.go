package rdb

import (
	"fmt"
	"io"
)

// writeBody writes an entry whose value is read as it is written.
func (w *Writer) writeBody(e *Entry) error {
	if err := w.settle(); err != nil {
		return err
	}
	typ, copyTo, err := w.readableBody(e)
	if err != nil {
		return err
	}
	return w.WriteFunc(e, typ, copyTo)
}

// WriteFunc writes an entry of a type that the file's readers know, whose value is
// what write hands on; Value and Body are not looked at. An error of write is final:
// a part of the value is written then.
func (w *Writer) WriteFunc(e *Entry, typ byte, write func(io.Writer) error) error {
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.head(e, typ); err != nil {
		return err
	}
	if err := write(valueWriter{w}); err != nil {
		if w.err == nil {
			w.err = fmt.Errorf("cannot write the value of a key into the RDB file: %w", err)
		}
		return w.err
	}
	return w.settle()
}

// readableBody is readable for an entry with a Body.
func (w *Writer) readableBody(e *Entry) (byte, func(io.Writer) error, error) {
	if w.tr == nil {
		as := *e
		as.Body = nil
		typ, _, err := w.readable(&as)
		return typ, copyOf(e.Body), err
	}
	from := e.Version
	if from == 0 {
		from = w.header.Version
	}
	typ, write, err := w.tr.Body(e.Type, from, e.Body)
	if err != nil {
		err = fmt.Errorf("cannot write a value of type %d into %s: %w", e.Type, w.header, err)
	}
	return typ, write, err
}

// valueWriter takes the bytes of a value.
type valueWriter struct{ w *Writer }

func (v valueWriter) Write(p []byte) (int, error) {
	if err := v.w.value(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
