package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"time"

	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/rdb"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

func benchRDB(ctx context.Context, l *lab) error {
	for _, b := range l.engines() {
		for _, d := range []dataset{setA, setM, setZ} {
			if err := rdbRows(ctx, l, b, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func rdbRows(ctx context.Context, l *lab, b catalog.Build, d dataset) error {
	f, err := l.file(ctx, b, d)
	if err != nil {
		return err
	}
	var got []series
	err = l.profiled(func() (err error) {
		got, err = l.alternate(ctx, l.opt.rounds,
			func() (time.Duration, error) { return l.engineLoad(ctx, b, d) },
			elapsed(func() error { return parseFile(f) }),
			elapsed(func() error { return fingerprintFile(ctx, f) }))
		return err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, %s (%d MB): ", b.Name, d.name, f.bytes>>20)
	l.report.add(row{What: what + "to entries", Keys: f.keys, Bytes: f.bytes, Ours: got[1], LimitIs: "its own load", Limit: got[0]})
	l.report.add(row{What: what + "to a fingerprint", Keys: f.keys, Bytes: f.bytes, Ours: got[2], LimitIs: "its own load", Limit: got[0]})
	return nil
}

var loadTime = regexp.MustCompile(`DB loaded from disk: ([0-9.]+) seconds`)

// engineLoad is how long the engine says it took to load the file.
func (l *lab) engineLoad(ctx context.Context, b catalog.Build, d dataset) (time.Duration, error) {
	s, _, err := l.loaded(ctx, b, d)
	if err != nil {
		return 0, err
	}
	if err := s.stop(); err != nil {
		return 0, err
	}
	m := loadTime.FindStringSubmatch(s.log())
	if m == nil {
		return 0, fmt.Errorf("%s does not say how long it loaded; its log:\n%s", b.Name, s.log())
	}
	sec, err := strconv.ParseFloat(m[1], 64)
	return time.Duration(sec * float64(time.Second)), errors.Join(err, os.RemoveAll(s.dir))
}

// parseFile reads a file to its checksum and looks at each entry only enough to count it.
func parseFile(f dataFile) error {
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	r := rdb.NewReader(in)
	var keys int64
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return counted(keys, f.keys)
		}
		if err != nil {
			return err
		}
		keys++
	}
}

func fingerprintFile(ctx context.Context, f dataFile) error {
	src := source.NewRDB(source.File(f.path))
	defer src.Close()
	p, err := verify.Compute(ctx, src, verify.Options{})
	if err != nil {
		return err
	}
	return counted(p.Totals().Keys, f.keys)
}

// counted makes sure that a measurement did the whole work.
func counted(got, want int64) error {
	if got != want {
		return fmt.Errorf("%d keys were read where there are %d", got, want)
	}
	return nil
}
