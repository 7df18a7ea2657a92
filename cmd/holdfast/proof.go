package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/verify"
)

// compare compares what was moved key by key.
func (m *movement) compare(ctx context.Context, a verify.End) error {
	b, done := m.dst.verifyEnd()
	if m.mine != nil {
		open := b.Open
		b.Open = func(ctx context.Context) (flow.Source, error) {
			s, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return &only{s, m.mine}, nil
		}
	}
	opt := verify.CompareOptions{Progress: func(p verify.Progress) {
		if p.End == 1 {
			m.steps.at("verify", p.Keys, m.rep.Keys, 0)
		}
	}}
	opt.Tolerance = expiryTolerance(ctx, m.src, m.dst)
	if m.rep.Read != nil && m.rep.Read.Inexact > 0 {
		opt.Tolerance += clockEdge // of the reading that was moved
	}
	began := time.Now()
	r, err := verify.Compare(ctx, a, b, opt)
	if err := errors.Join(err, done()); err != nil {
		return fmt.Errorf("everything was written, but cannot verify it: %w", err)
	}
	m.rep.Verified = &verified{
		Equal: r.Equal, Verdict: r.Verdict(), Fingerprints: [2]string{r.A.String(), r.B.String()}, Seconds: time.Since(began).Seconds(),
		Expired: r.Expired, Settled: r.Settled, Content: r.A, Report: r,
	}
	return nil
}

// compareSums compares fingerprints, where what was moved cannot be read again.
func (m *movement) compareSums(ctx context.Context, print *fingerprinter) error {
	c, err := print.finish()
	if err != nil {
		return fmt.Errorf("everything was written, but cannot verify it: %w", err)
	}
	src, err := m.dst.open(ctx)
	if err != nil {
		return fmt.Errorf("everything was written, but cannot verify it: %w", err)
	}
	if m.mine != nil {
		src = &only{src, m.mine}
	}
	began := time.Now()
	there, err := verify.Compute(ctx, &lasting{Source: src, horizon: print.fleeting.horizon}, verify.Options{Progress: func(p verify.Progress) {
		m.steps.at("verify", p.Keys, m.rep.Keys, 0)
	}})
	if err := errors.Join(err, src.Close()); err != nil {
		return fmt.Errorf("everything was written, but cannot verify it: %w", err)
	}
	v := &verified{
		Equal: c.print.Equal(there), Verdict: "identical", Content: c.print,
		Fingerprints: [2]string{c.print.String(), there.String()}, Seconds: time.Since(began).Seconds(),
		NotCompared: print.fleeting.skipped,
	}
	if !v.Equal {
		v.Verdict = "different, or expired meanwhile: standard input cannot be read again to tell the keys; holdfast verify with the file does"
	}
	m.rep.Verified = v
	return nil
}
