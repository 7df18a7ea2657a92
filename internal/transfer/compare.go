package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/flow"
	"holdfast.dev/internal/resp"
	"holdfast.dev/internal/source"
	"holdfast.dev/internal/verify"
)

// comparedNames is how many differing keys are named.
const comparedNames = 10

// Compare reads two live nodes of which To follows From, and says what differs. Both
// may be written to meanwhile through From. It slows down when From's clients would have to
// wait, and ends with the context. Functions are not compared.
func (m *Mover) Compare(ctx context.Context, job cache.CompareJob) (out cache.Comparison, err error) {
	from, to := loginOptions(job.From), loginOptions(job.To)
	opt, err := compareOptions(ctx, from, to)
	if err != nil {
		return out, err
	}
	first, second := source.NewPicks(from), source.NewPicks(to)
	defer func() { err = errors.Join(err, first.Close(), second.Close()) }()
	r, err := verify.CompareLive(ctx, verify.LiveEnd{
		Name: from.String(), Read: first.Read, Missing: first.Missing,
		Open: func(context.Context) (flow.Source, error) {
			return source.NewReplicaScan(from, source.ScanOptions{}), nil
		},
	}, verify.LiveEnd{
		Name: to.String(), Read: second.Read,
		List: func(ctx context.Context, yield func(int, []byte) bool) error {
			return source.ListNode(ctx, to, yield)
		},
	}, opt)
	if err != nil {
		return out, err
	}
	out = cache.Comparison{
		Keys: r.Keys, Different: r.Different, AtLeast: r.Cut, Expired: r.Expired, Late: r.Late, Unsettled: r.Unsettled,
	}
	for i := range r.Differences {
		out.Names = append(out.Names, r.Differences[i].String())
	}
	return out, nil
}

const (
	// clockEdge is by how much an expiry may be read wrong where the server tells only
	// how long a key has left: its clock may go on between the two questions.
	clockEdge = time.Millisecond
	// expiryDelay is by how much longer keys may live on a replica of a Redis before 7.0,
	// which counts from when it hears of the expiry: as long as it took to join.
	expiryDelay = 15 * time.Minute
)

// compareOptions are by how much expiries may differ though they are the same:
// by nothing between servers since 7.0.
func compareOptions(ctx context.Context, from, to resp.Options) (verify.LiveOptions, error) {
	out := verify.LiveOptions{Limit: comparedNames}
	for _, opt := range []resp.Options{from, to} {
		c, err := resp.Dial(ctx, opt)
		if err != nil {
			return out, err
		}
		srv, err := c.Server(ctx)
		if err := errors.Join(err, c.Close()); err != nil {
			return out, fmt.Errorf("cannot tell the version of %s: %w", opt, err)
		}
		if !srv.AtLeast(7, 0) {
			out.Tolerance += clockEdge
			out.Late = expiryDelay
		}
	}
	return out, nil
}
