package rdb

// What Redis 8 keeps of a vector set, seen in what its DUMP returns: dimensions,
// elements, configuration (kind of quantization in the low byte), flags, with the
// first flag the dimensions before the reduction and the projection matrix; then
// each element: name, with the second flag its attributes, the vector, and a list of
// numbers that are its place in the graph but for the last, which is the vector's
// norm and in its upper half, for 8-bit quantization, its range. At each load the
// order of elements turns round.
const (
	vectorProjected  = 1
	vectorAttributes = 2
	vectorInt8       = 1
)

func (d *Decoder) vectorSet() error {
	var head [4]uint64 // dimensions, elements, configuration, flags
	for i := range head {
		n, err := d.moduleUint()
		if err != nil {
			return err
		}
		head[i] = n
	}
	d.el.B, d.el.Count = nil, head[0]<<32|head[2]
	if head[3]&vectorProjected != 0 {
		if _, err := d.moduleUint(); err != nil { // the matrix tells by its length
			return err
		}
		var err error
		if d.el.B, err = d.moduleString(); err != nil {
			return err
		}
	}
	if err := d.yield(KindVectorSet); err != nil {
		return err
	}
	for range head[1] {
		if err := d.vector(head[2]&0xff, head[3]); err != nil {
			return err
		}
	}
	if op, err := d.c.length(); err != nil || op != modEOF {
		return d.vectorFault(err)
	}
	return nil
}

func (d *Decoder) vector(quant, flags uint64) (err error) {
	d.fresh()
	d.el.Pairs = append(d.el.Pairs[:0], nil)
	if d.el.A, err = d.moduleString(); err != nil {
		return err
	}
	if flags&vectorAttributes != 0 {
		if d.el.Pairs[0], err = d.moduleString(); err != nil {
			return err
		}
	}
	if d.el.B, err = d.moduleString(); err != nil {
		return err
	}
	numbers, err := d.moduleUint()
	if err != nil {
		return err
	}
	d.el.Count = 0
	for range numbers {
		if d.el.Count, err = d.moduleUint(); err != nil {
			return err
		}
	}
	if quant != vectorInt8 {
		d.el.Count &= 1<<32 - 1 // the range is left from other use of the memory
	}
	return d.yield(KindVector)
}

func (d *Decoder) vectorFault(err error) error {
	if err != nil {
		return err
	}
	return d.c.fail("a vector set of an unknown form", ErrCorrupt)
}

func (d *Decoder) moduleUint() (uint64, error) {
	if op, err := d.c.length(); err != nil || op != modUint {
		return 0, d.vectorFault(err)
	}
	return d.c.length()
}

func (d *Decoder) moduleString() ([]byte, error) {
	if op, err := d.c.length(); err != nil || op != modString {
		return nil, d.vectorFault(err)
	}
	return d.str()
}
