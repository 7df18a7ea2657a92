package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/objects"
	"holdfast.dev/internal/objects/seal"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// passage is one RDB file on its way: every byte that is read of it is copied,
// counted and hashed.
type passage struct {
	in    io.Reader
	out   io.Writer
	sum   hash.Hash
	bytes int64
	err   error // of a write; nothing is read after it
}

func newPassage(in io.Reader, out io.Writer) *passage {
	return &passage{in: in, out: out, sum: sha256.New()}
}

// Read passes on what it reads before it hands it out.
func (p *passage) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.in.Read(b)
	if n > 0 {
		if _, werr := p.out.Write(b[:n]); werr != nil {
			p.err = fmt.Errorf("cannot write: %w", werr)
			return 0, p.err
		}
		p.sum.Write(b[:n])
		p.bytes += int64(n)
	}
	return n, err
}

// Close does nothing: whoever opened the ends closes them.
func (p *passage) Close() error { return nil }

// examine reads a whole RDB file through the passage and says what it holds.
func (p *passage) examine(ctx context.Context, name string) (cache.Manifest, error) {
	_, m, err := p.measure(ctx, name)
	return m, err
}

// measure is examine for those who want to add fingerprints up.
func (p *passage) measure(ctx context.Context, name string) (*verify.Fingerprint, cache.Manifest, error) {
	began := time.Now()
	src := source.NewRDB(source.Input{Name: name, Open: func(context.Context) (io.ReadCloser, error) { return p, nil }})
	defer src.Close()
	f, err := verify.Compute(ctx, src, verify.Options{})
	if err != nil {
		return nil, cache.Manifest{}, classify(err)
	}
	// What follows the end mark belongs to nobody, but to the object all the same.
	if _, err := io.Copy(io.Discard, p); err != nil {
		return nil, cache.Manifest{}, fmt.Errorf("cannot read the end of %s: %w", name, err)
	}
	m := describe(f)
	info := src.Files()[0]
	m.Bytes, m.SHA256 = p.bytes, hex.EncodeToString(p.sum.Sum(nil))
	m.RDBVersion = info.Header.Version
	for _, a := range info.Aux {
		if engine, ok := strings.CutSuffix(a.Name, "-ver"); ok {
			m.Engine, m.Version = engine, a.Value
		}
	}
	m.Seconds = time.Since(began).Seconds()
	return f, m, nil
}

// describe turns a fingerprint into the part of a manifest that it fills.
func describe(f *verify.Fingerprint) cache.Manifest {
	t := f.Totals()
	m := cache.Manifest{
		Fingerprint: f.String(), Keys: t.Keys, Volatile: t.Volatile,
		KeysByType: map[string]int64{}, KeysByDB: map[int]int64{},
	}
	for c, n := range t.Classes {
		if n > 0 {
			m.KeysByType[rdb.Class(c).String()] = n
		}
	}
	for _, db := range f.Databases() {
		m.KeysByDB[db.DB] = db.Totals.Keys
	}
	return m
}

// manifestKey is where the manifest of a file stands.
func manifestKey(object string) string {
	plain, _, _ := seal.Parse(object)
	return strings.TrimSuffix(plain, ".rdb") + ".json"
}

func (m *Mover) writeManifest(ctx context.Context, object string, man cache.Manifest) error {
	b, err := json.MarshalIndent(man, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode the manifest of %s: %w", object, err)
	}
	_, err = objects.Put(ctx, m.Snapshots, manifestKey(object), bytes.NewReader(append(b, '\n')), objects.PutOptions{})
	if err != nil {
		return fmt.Errorf("cannot write the manifest of %s: %w", object, err)
	}
	return nil
}
