package memcache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"iter"
	"time"
)

// The form of a file of items: the magic, the items, and the end.
//
//	item   1, key length (uvarint), key, flags (uvarint), expiry in seconds since
//	       1970 or 0 (varint), CAS (uvarint), value length (uvarint), value
//	end    0, number of items (uvarint), CRC-64/ECMA of everything before, 8 bytes, big-endian
const (
	magic   = "HOLDFAST-MEMCACHED\x00\x01"
	itemTag = 1
	endTag  = 0
)

// ErrFile: a file is not of this form, damaged, or ends before its end. The text tells where.
var ErrFile = errors.New("not a whole file of memcached items")

var crcTable = crc64.MakeTable(crc64.ECMA)

// FileWriter writes items in the form of a file.
type FileWriter struct {
	out   *bufio.Writer
	crc   hash.Hash64
	items uint64
	room  []byte
}

// NewFileWriter begins a file.
func NewFileWriter(w io.Writer) (*FileWriter, error) {
	f := &FileWriter{crc: crc64.New(crcTable)}
	f.out = bufio.NewWriterSize(io.MultiWriter(w, f.crc), 256<<10)
	_, err := f.out.WriteString(magic)
	return f, err
}

// Write adds an item.
func (f *FileWriter) Write(i *Item) error {
	var expiry int64
	if !i.ExpireAt.IsZero() {
		expiry = i.ExpireAt.Unix()
	}
	b := append(f.room[:0], itemTag)
	b = append(binary.AppendUvarint(b, uint64(len(i.Key))), i.Key...)
	b = binary.AppendUvarint(b, uint64(i.Flags))
	b = binary.AppendVarint(b, expiry)
	b = binary.AppendUvarint(b, i.CAS)
	b = binary.AppendUvarint(b, uint64(len(i.Value)))
	f.room = b
	if _, err := f.out.Write(b); err != nil {
		return err
	}
	f.items++
	_, err := f.out.Write(i.Value)
	return err
}

// Close writes the end; without it the file is not whole.
func (f *FileWriter) Close() error {
	b := binary.AppendUvarint([]byte{endTag}, f.items)
	if _, err := f.out.Write(b); err != nil {
		return err
	}
	if err := f.out.Flush(); err != nil {
		return err
	}
	b = binary.BigEndian.AppendUint64(nil, f.crc.Sum64())
	if _, err := f.out.Write(b); err != nil {
		return err
	}
	return f.out.Flush()
}

// IsFile tells whether what comes begins like a file of items.
func IsFile(r io.Reader) bool {
	head := make([]byte, len(magic))
	_, err := io.ReadFull(r, head)
	return err == nil && string(head) == magic
}

// ReadFile yields the items of a file, and an error that wraps ErrFile if it is not whole. Items that
// come before the damage have been yielded then: whoever must not have those reads
// the file to its end first. What an item holds is the callee's for as long as it looks at it.
func ReadFile(r io.Reader) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		f := &fileReader{in: bufio.NewReaderSize(r, 256<<10), crc: crc64.New(crcTable)}
		head := make([]byte, len(magic))
		if err := f.full(head); err != nil || string(head) != magic {
			yield(nil, f.damaged("it does not begin like one", err))
			return
		}
		for {
			more, err := f.next()
			if err != nil {
				yield(nil, err)
				return
			}
			if !more || !yield(&f.item, nil) {
				return
			}
		}
	}
}

// fileReader counts and sums what it reads.
type fileReader struct {
	in    *bufio.Reader
	crc   hash.Hash64
	at    int64
	items uint64
	item  Item
	key   [longestKey]byte
	one   [1]byte
	value []byte
}

func (f *fileReader) full(b []byte) error {
	n, err := io.ReadFull(f.in, b)
	f.at += int64(n)
	_, _ = f.crc.Write(b[:n]) // a hash takes everything
	return err
}

// ReadByte makes it a source of numbers.
func (f *fileReader) ReadByte() (byte, error) {
	err := f.full(f.one[:])
	return f.one[0], err
}

func (f *fileReader) damaged(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		what, err = "it ends there", nil
	}
	if err != nil {
		return fmt.Errorf("cannot read it at byte %d: %w", f.at, err)
	}
	return fmt.Errorf("%w: at byte %d: %s", ErrFile, f.at, what)
}

// next reads an item; false at the end of a whole file.
func (f *fileReader) next() (more bool, err error) {
	tag, err := f.ReadByte()
	switch {
	case err != nil:
		return false, f.damaged("", err)
	case tag == endTag:
		return false, f.end()
	case tag != itemTag:
		return false, f.damaged(fmt.Sprintf("the unknown mark %d", tag), nil)
	}
	f.items++
	n, err := f.number("the length of a key", longestKey)
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, f.damaged("a key of no length", nil)
	}
	f.item = Item{Key: f.key[:n]}
	if err := f.full(f.item.Key); err != nil {
		return false, f.damaged("", err)
	}
	flags, err := f.number("flags", 1<<32-1)
	if err != nil {
		return false, err
	}
	f.item.Flags = uint32(flags)
	expiry, err := binary.ReadVarint(f)
	if err != nil {
		return false, f.damaged("no time", err)
	}
	if expiry != 0 {
		f.item.ExpireAt = time.Unix(expiry, 0)
	}
	if f.item.CAS, err = f.number("a CAS number", 1<<64-1); err != nil {
		return false, err
	}
	return true, f.readValue()
}

func (f *fileReader) number(what string, most uint64) (uint64, error) {
	n, err := binary.ReadUvarint(f)
	if err != nil {
		return 0, f.damaged("no number where "+what+" should be", ignoreOverflow(err))
	}
	if n > most {
		return 0, f.damaged(fmt.Sprintf("%s is %d", what, n), nil)
	}
	return n, nil
}

// ignoreOverflow: a number that is too large is damage, and no failure of a disk.
func ignoreOverflow(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return nil
}

// readValue believes in a length no further than bytes come.
func (f *fileReader) readValue() error {
	size, err := f.number("the length of a value", largestValue)
	if err != nil {
		return err
	}
	const step = 1 << 20
	f.value = f.value[:0]
	for left := int(size); left > 0; {
		n := min(left, step)
		at := len(f.value)
		f.value = append(f.value, make([]byte, n)...)
		if err := f.full(f.value[at:]); err != nil {
			return f.damaged("", err)
		}
		left -= n
	}
	f.item.Value = f.value
	return nil
}

// end checks what the end of the file says of the rest.
func (f *fileReader) end() error {
	n, err := f.number("the number of items", 1<<64-1)
	if err != nil {
		return err
	}
	if n != f.items {
		return f.damaged(fmt.Sprintf("it should hold %d items and holds %d", n, f.items), nil)
	}
	sum := f.crc.Sum64()
	var b [8]byte
	if err := f.full(b[:]); err != nil {
		return f.damaged("", err)
	}
	if binary.BigEndian.Uint64(b[:]) != sum {
		return f.damaged("its checksum is wrong", nil)
	}
	if _, err := f.in.ReadByte(); !errors.Is(err, io.EOF) {
		return f.damaged("something comes after its end", err)
	}
	return nil
}
