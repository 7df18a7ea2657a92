package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/sink"
	"holdfast.dev/internal/verify"
)

// division is one reading of all files of a seed, whose entries go to the files of
// the node groups that they belong to. What is read and what is written are both
// fingerprinted as bytes, apart from each other, and the sums have to be equal.
type division struct {
	job   cache.SeedJob
	files []seedFile
	parts []*seedPart
	// bySlot finds the part of a slot; without cluster mode it is not looked at.
	bySlot [cache.SlotCount]*seedPart
	told   *tally
	lost   leftovers
	// prints are those of the files, in their order.
	prints []*verify.Fingerprint
	mans   []cache.Manifest
}

// divide writes the parts of a job and makes sure that they hold together what the
// files hold.
func divide(ctx context.Context, job cache.SeedJob, build Build, files []seedFile) (out cache.Seeded, err error) {
	d := &division{
		job: job, files: files, told: newTally(job.Progress, files), lost: leftovers{build: build, databases: job.Databases},
		prints: make([]*verify.Fingerprint, len(files)), mans: make([]cache.Manifest, len(files)),
	}
	defer func() {
		for _, p := range d.parts {
			err = errors.Join(err, p.abort())
		}
	}()
	if err := d.open(ctx, build); err != nil {
		return out, err
	}
	if err := d.read(ctx); err != nil {
		return out, err
	}
	if err := d.lost.verdict(); err != nil {
		return out, fmt.Errorf("%s: %w", d.named(), err)
	}
	return d.commit()
}

// open begins the parts, and one without a file for the slots of node groups that
// have theirs already.
func (d *division) open(ctx context.Context, build Build) error {
	target := rdb.Target{Version: build.writes(), Modules: true}
	for i := range d.files {
		// Whoever reads a file of that version may be taken to have what is in it.
		target.Modules = target.Modules && build.Reads(d.files[i].header.Version)
	}
	for _, want := range d.job.Parts {
		p, err := newSeedPart(ctx, want, target)
		if err != nil {
			return err
		}
		d.parts = append(d.parts, p)
		for _, r := range want.Slots {
			for slot := r.First; slot <= r.Last; slot++ {
				d.bySlot[slot] = p
			}
		}
	}
	if err := d.openRest(ctx, target); err != nil {
		return err
	}
	return d.functions()
}

func (d *division) openRest(ctx context.Context, target rdb.Target) error {
	var rest *seedPart
	for slot, p := range d.bySlot {
		if p != nil || !d.job.Clustered {
			continue
		}
		if rest == nil {
			var err error
			if rest, err = newSeedPart(ctx, cache.SeedPart{}, target); err != nil {
				return err
			}
			d.parts = append(d.parts, rest)
		}
		d.bySlot[slot] = rest
	}
	return nil
}

// functions gives every part the libraries of all files; those of one cluster have
// them in each.
func (d *division) functions() error {
	seen := map[string]bool{}
	for i := range d.files {
		for _, f := range d.files[i].functions {
			if seen[string(f.Raw)] {
				continue
			}
			seen[string(f.Raw)] = true
			for _, p := range d.parts {
				if err := p.w.Function(f); err != nil {
					return fmt.Errorf("%s: %w", d.files[i].name, classify(err))
				}
			}
		}
	}
	return nil
}

// read passes every file on, several at a time.
func (d *division) read(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(max(2, runtime.NumCPU()))
	for i := range d.files {
		work.Go(func() error {
			if err := d.readFile(ctx, i); err != nil {
				return fmt.Errorf("%s: %w", d.files[i].name, classify(err))
			}
			return nil
		})
	}
	return work.Wait()
}

// readFile passes one file on and sees to it that it is what its manifest says.
func (d *division) readFile(ctx context.Context, i int) (err error) {
	f := d.files[i]
	in, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if f.manifest != nil && len(d.files) == 1 {
		return d.readKnown(ctx, f, in)
	}
	w := newWitness(ctx, f.name)
	finished := false
	defer func() {
		if !finished {
			w.abort()
		}
	}()
	if err := d.entries(ctx, io.TeeReader(d.told.of(in), w)); err != nil {
		return err
	}
	finished = true
	if d.prints[i], d.mans[i], err = w.finish(); err != nil || f.manifest == nil {
		return err
	}
	return same(f.manifest, d.mans[i])
}

// readKnown passes the one file on whose manifest says it all: when its bytes are
// the same its entries need no other fingerprint than that.
func (d *division) readKnown(ctx context.Context, f seedFile, in io.Reader) error {
	p := newPassage(d.told.of(in), io.Discard)
	if err := d.entries(ctx, p); err != nil {
		return err
	}
	d.mans[0] = *f.manifest
	if got := hex.EncodeToString(p.sum.Sum(nil)); got != f.manifest.SHA256 {
		return fmt.Errorf("the file is not what was stored: its SHA-256 is %s, its manifest says %s: %w", got, f.manifest.SHA256, cache.ErrPermanent)
	}
	return nil
}

func (d *division) entries(ctx context.Context, in io.Reader) error {
	r := rdb.NewReader(in)
	r.StreamAbove(streamAbove)
	h, err := r.Header()
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		e, err := r.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped one would be the input's error, not the good end
			break
		}
		if err != nil {
			return err
		}
		e.Version = h.Version
		if err := d.take(e); err != nil {
			return err
		}
		if n&1023 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for _, raw := range r.ModuleAux() {
		d.lost.moduleAux(raw)
	}
	// The witness sees the end of the file only once all of it was read.
	_, err = io.Copy(io.Discard, in)
	return err
}

// take passes one entry on to where it belongs.
func (d *division) take(e *rdb.Entry) error {
	p := d.parts[0]
	if d.job.Clustered {
		if e.DB >= max(d.job.Databases, 1) {
			d.lost.stray(e)
			return nil
		}
		p = d.bySlot[resp.Slot(e.Key)]
	}
	err := p.write(e)
	var lost *rdb.LossError
	if errors.As(err, &lost) {
		d.lost.cannot(lost, e)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot pass on key %q of database %d: %w", e.Key, e.DB, err)
	}
	return nil
}

// commit compares what was read with what was written and puts the files in place.
func (d *division) commit() (cache.Seeded, error) {
	out := cache.Seeded{Parts: map[string]cache.Manifest{}}
	var prints []*verify.Fingerprint
	for _, p := range d.parts {
		print, man, err := p.finish()
		if err != nil {
			return out, err
		}
		prints = append(prints, print)
		if p.want.Path != "" {
			out.Parts[p.want.NodeGroupID] = man
		}
	}
	written, err := verify.Sum(prints...)
	if err != nil {
		return out, err
	}
	whole, err := d.whole()
	if err != nil {
		return out, err
	}
	if whole.Fingerprint != written.String() {
		return out, fmt.Errorf("what was written for the nodes, %d keys with fingerprint %s, is not what was read, %d keys with fingerprint %s",
			written.Totals().Keys, written, whole.Keys, whole.Fingerprint)
	}
	for _, p := range d.parts {
		if err := p.place(); err != nil {
			return out, err
		}
	}
	out.Whole = whole
	return out, nil
}

// named says what was read, for people.
func (d *division) named() string {
	if len(d.files) == 1 {
		return d.files[0].name
	}
	return fmt.Sprintf("%s and %d more", d.files[0].name, len(d.files)-1)
}

// whole describes all files together.
func (d *division) whole() (cache.Manifest, error) {
	if len(d.mans) == 1 {
		return d.mans[0], nil
	}
	read, err := verify.Sum(d.prints...)
	if err != nil {
		return cache.Manifest{}, err
	}
	m := describe(read)
	for i := range d.mans {
		m.Bytes += d.mans[i].Bytes
		m.Engine, m.Version, m.RDBVersion = d.mans[i].Engine, d.mans[i].Version, d.mans[i].RDBVersion
	}
	return m, nil
}

// writes is the RDB version of the files that an engine writes itself.
func (b Build) writes() int {
	server := resp.Server{Engine: b.Engine, Version: b.Version}
	for i, to := range []*int{&server.Major, &server.Minor} {
		if parts := strings.Split(b.Version, "."); i < len(parts) {
			*to, _ = strconv.Atoi(parts[i]) // what is no number counts as the oldest
		}
	}
	return sink.VersionOf(server)
}
