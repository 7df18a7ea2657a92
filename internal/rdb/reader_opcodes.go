package rdb

import (
	"encoding/binary"
	"math"
	"strconv"
)

// readOpcode reads what stands between entries or says something of the next one.
func (r *Reader) readOpcode(op byte) error {
	c := &r.c
	switch op {
	case opExpireMs:
		ms, err := c.uint64()
		if err != nil {
			return err
		}
		return r.setExpiry(int64(ms))
	case opExpire:
		b, err := c.take(4)
		if err != nil {
			return err
		}
		return r.setExpiry(int64(int32(binary.LittleEndian.Uint32(b))) * 1000)
	case opIdle:
		n, err := c.length()
		r.entry.Idle = int64(min(n, math.MaxInt64))
		return err
	case opFreq:
		b, err := c.byte()
		r.entry.Freq = int(b)
		return err
	case opSelectDB:
		return r.selectDB()
	case opResizeDB:
		return r.readHint()
	case opAux:
		return r.readAux()
	case opSlotInfo: // slot, keys in it, volatile keys in it: a hint
		return c.skipLengths(3)
	}
	return r.readRareOpcode(op)
}

// setExpiry notes when the next key expires. The engines read a negative time
// as long past; 0 is kept apart, because an Entry says "never" by it.
func (r *Reader) setExpiry(ms int64) error {
	if ms == 0 {
		ms = 1
	}
	r.entry.ExpireAt = ms
	return nil
}

func (r *Reader) selectDB() error {
	n, err := r.c.length()
	if err != nil {
		return err
	}
	if n > math.MaxInt32 {
		return r.c.fail("database number "+strconv.FormatUint(n, 10), ErrCorrupt)
	}
	r.db = int(n)
	r.hint = SizeHint{DB: r.db}
	return nil
}

func (r *Reader) readHint() error {
	keys, err := r.c.length()
	if err != nil {
		return err
	}
	volatile, err := r.c.length()
	r.hint = SizeHint{DB: r.db, Keys: clampInt64(keys), Volatile: clampInt64(volatile), Known: err == nil}
	return err
}

func clampInt64(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// maxAux is how many fields are kept, and maxAuxValue how long they may be: engines
// write about ten short ones, and a file of nothing but fields is not to fill the memory.
const (
	maxAux      = 1024
	maxAuxValue = 64 << 10
)

// readAux keeps a named field; nameless ones are padding, of any length.
func (r *Reader) readAux() error {
	c := &r.c
	name, _, err := c.str(nil)
	if err != nil {
		return err
	}
	a := Aux{Name: string(name)}
	at := c.pos - c.mark
	n, err := c.stringHead()
	if err != nil {
		return err
	}
	if a.Name == "" || n > maxAuxValue || len(r.aux) == maxAux {
		return c.passOver(n)
	}
	c.pos = c.mark + at
	value, _, err := c.str(nil)
	if err != nil {
		return err
	}
	a.Value = string(value)
	r.aux = append(r.aux, a)
	return nil
}

// maxKept bounds what is kept of functions and modules' data, which engines hold in
// memory outside of any limit.
const maxKept = 64 << 20

// keepRaw notes that so many bytes are to be kept.
func (r *Reader) keepRaw(n uint64) error {
	if n > uint64(maxKept-r.kept) {
		return r.c.fail("functions and modules' data of more than 64 MiB", ErrCorrupt)
	}
	r.kept += int(n)
	return nil
}

// passKept passes a string that is to be kept.
func (r *Reader) passKept() error {
	n, err := r.c.stringHead()
	if err != nil {
		return err
	}
	if err := r.keepRaw(n); err != nil {
		return err
	}
	return r.c.skip(n)
}

// readRareOpcode reads what is kept raw, to be passed on.
func (r *Reader) readRareOpcode(op byte) error {
	c := &r.c
	from := c.pos - c.mark
	raw := func() []byte { return append([]byte(nil), c.buf[c.mark+from:c.pos]...) }
	switch op {
	case opFunction2:
		if err := r.passKept(); err != nil {
			return err
		}
		r.functions = append(r.functions, FunctionLibrary{Raw: raw()})
		return nil
	case opFunctionRC:
		if err := r.skipFunctionRC(); err != nil {
			return err
		}
		r.functions = append(r.functions, FunctionLibrary{PreRelease: true, Raw: raw()})
		return nil
	case opModuleAux: // module id, the word "uint", when it was saved, fields
		if err := c.skipLengths(3); err != nil {
			return err
		}
		if err := r.passModuleOps(); err != nil {
			return err
		}
		r.moduleAux = append(r.moduleAux, raw())
		return nil
	case opSlotImport:
		if r.header.Valkey {
			r.slotImports++
			return r.skipSlotImport()
		}
	}
	return c.fail("opcode "+strconv.Itoa(int(op)), ErrType)
}

func (r *Reader) skipFunctionRC() error {
	for range 2 { // name, engine
		if err := r.passKept(); err != nil {
			return err
		}
	}
	described, err := r.c.length()
	if err != nil {
		return err
	}
	if described != 0 {
		if err := r.passKept(); err != nil {
			return err
		}
	}
	return r.passKept()
}

// passModuleOps passes the fields of a module's own data, which are kept.
func (r *Reader) passModuleOps() error {
	for {
		n, more, err := r.c.moduleOp()
		if err != nil || !more {
			return err
		}
		if err := r.keepRaw(n + 1); err != nil {
			return err
		}
		if err := r.c.skip(n); err != nil {
			return err
		}
	}
}

// skipSlotImport passes the state of an unfinished slot migration: its name and slot ranges.
func (r *Reader) skipSlotImport() error {
	if err := r.c.skipString(); err != nil {
		return err
	}
	ranges, err := r.c.count()
	if err != nil {
		return err
	}
	for range ranges {
		r.c.mark = r.c.pos // nothing of it is kept
		if err := r.c.skipLengths(2); err != nil {
			return err
		}
	}
	return nil
}
