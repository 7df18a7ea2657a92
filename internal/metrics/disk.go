package metrics

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// disk keeps samples in one file for each hour, and deletes those that are older than a day.
//
// A file is a row of records: length (4 bytes, little endian), CRC-32 and as many bytes. The
// first is the list of names, as JSON, that the others count by; each other is Unix seconds
// (8 bytes), the length of the node and the node as JSON, and the packed figures. Files are not
// synced: a power cut may cost the last minutes, and a record that is not whole ends its file.
type disk struct {
	dir  string
	hour string
	f    *os.File
}

// hourName sorts as the hours do.
const hourName = "2006-01-02T15.samples"

const longestRecord = 1 << 20

// OpenHistory reads what a directory holds of the day up to now, and goes on there.
// Files that cannot be read are named in the error, and the history is good all the same.
func OpenHistory(dir string, now time.Time) (*History, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep metrics: %w", err)
	}
	h := NewHistory()
	h.disk = &disk{dir: dir}
	h.disk.sweep(now)
	err := h.disk.scan(now.Add(-atHand), now.Add(time.Hour), h.put)
	h.forget(now.Add(-atHand).Unix())
	return h, err
}

// Close ends the writing.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.disk == nil || h.disk.f == nil {
		return nil
	}
	err := h.disk.f.Close()
	h.disk = nil
	return err
}

// old tells whether all of a file is too old to be kept.
func (d *disk) old(name string, now time.Time) bool {
	hour, err := time.Parse(hourName, name)
	return err == nil && hour.Add(time.Hour).Before(now.Add(-Kept))
}

// scan goes through the samples of the hours from one time to another.
func (d *disk) scan(from, to time.Time, yield func(Node, packed)) error {
	files, err := filepath.Glob(filepath.Join(d.dir, "*.samples"))
	if err != nil {
		return fmt.Errorf("cannot read metrics: %w", err)
	}
	slices.Sort(files)
	var bad []error
	for _, f := range files {
		hour, err := time.Parse(hourName, filepath.Base(f))
		if err == nil && hour.Add(time.Hour).After(from) && hour.Before(to) {
			bad = append(bad, load(f, yield))
		}
	}
	return errors.Join(bad...)
}

// load goes through one file up to where it is cut.
func load(path string, yield func(Node, packed)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read metrics: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	var theirs []string
	head, err := readRecord(in)
	if err != nil || json.Unmarshal(head, &theirs) != nil {
		return nil // cut short at its beginning
	}
	for {
		rec, err := readRecord(in)
		if err != nil {
			return nil //nolint:nilerr // what follows a cut is not there
		}
		if at, n, v, ok := decodeRecord(rec, theirs); ok {
			yield(n, packed{at, pack(v)})
		}
	}
}

var errCut = errors.New("the record is not whole")

func readRecord(in io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > longestRecord {
		return nil, errCut
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(b) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errCut
	}
	return b, nil
}

func appendRecord(dst, rec []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(rec)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(rec))
	return append(dst, rec...)
}

func decodeRecord(b []byte, theirs []string) (at int64, n Node, v Values, ok bool) {
	if len(b) < 10 {
		return 0, n, nil, false
	}
	at = int64(binary.LittleEndian.Uint64(b))
	long := int(binary.LittleEndian.Uint16(b[8:]))
	b = b[10:]
	if long > len(b) || json.Unmarshal(b[:long], &n) != nil {
		return 0, n, nil, false
	}
	v, ok = unpack(b[long:], theirs)
	return at, n, v, ok
}

// write appends the samples of one time.
func (d *disk) write(at time.Time, samples map[Node]Values) error {
	var out []byte
	if err := d.open(at, &out); err != nil {
		return err
	}
	for n, v := range samples {
		name, err := json.Marshal(n)
		if err != nil {
			return fmt.Errorf("cannot encode a metric's name: %w", err)
		}
		rec := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
		rec = binary.LittleEndian.AppendUint16(rec, uint16(len(name)))
		rec = append(append(rec, name...), pack(v)...)
		out = appendRecord(out, rec)
	}
	if _, err := d.f.Write(out); err != nil {
		// What follows half a record could not be read.
		_ = d.f.Close()
		d.f, d.hour = nil, ""
		return fmt.Errorf("cannot write metrics: %w", err)
	}
	return nil
}

// open makes the hour's file the one that is written to. A file that is there already,
// of an earlier run, is written whole anew up to its cut.
func (d *disk) open(at time.Time, out *[]byte) error {
	hour := at.UTC().Format(hourName)
	if d.f != nil && d.hour == hour {
		return nil
	}
	if d.f != nil {
		_ = d.f.Close() // it is not synced either
		d.f = nil
	}
	d.sweep(at)
	path := filepath.Join(d.dir, hour)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write metrics: %w", err)
	}
	whole, same, err := wholePart(f)
	if err == nil && !same {
		whole = 0 // of another version's names, or damaged at its beginning
	}
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("cannot write metrics: %w", err)
	}
	if whole == 0 {
		head, err := json.Marshal(names)
		if err != nil {
			_ = f.Close()
			return fmt.Errorf("cannot encode the names of metrics: %w", err)
		}
		*out = appendRecord(*out, head)
	}
	d.f, d.hour = f, hour
	return nil
}

// wholePart is how many bytes of a file are whole records, and whether its names are ours.
func wholePart(f *os.File) (n int64, same bool, err error) {
	in := bufio.NewReader(f)
	for {
		rec, err := readRecord(in)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errCut):
			return n, same, nil
		case err != nil:
			return 0, false, err
		}
		if n == 0 {
			var theirs []string
			same = json.Unmarshal(rec, &theirs) == nil && slices.Equal(theirs, names)
		}
		n += int64(8 + len(rec))
	}
}

// sweep deletes what is too old. A file that cannot be deleted is tried again in an hour.
func (d *disk) sweep(now time.Time) {
	files, _ := filepath.Glob(filepath.Join(d.dir, "*.samples")) // the pattern is good
	for _, f := range files {
		if d.old(filepath.Base(f), now) {
			_ = os.Remove(f)
		}
	}
}
