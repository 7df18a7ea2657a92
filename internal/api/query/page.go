package query

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Limits are the bounds of MaxRecords for one action.
type Limits struct {
	// Default is used when MaxRecords is not given.
	Default int32
	// Min and Max bound what may be given, both included.
	Min, Max int32
}

var (
	// DescribeLimits are those of nearly every Describe action.
	DescribeLimits = Limits{Default: 100, Min: 20, Max: 100}
	// SnapshotLimits are those of DescribeSnapshots.
	SnapshotLimits = Limits{Default: 50, Min: 20, Max: 50}
)

// markerPrefix tells our markers from other base64.
const markerPrefix = "1:"

// Page cuts one page out of items, which must be sorted by name, each name once.
// The marker is opaque: it holds the name of the last item given out, so a page
// goes on rightly after items came or went in between. next is nil on the last
// page. A marker that is not ours, or a max outside the limits, is
// InvalidParameterValue. The returned page shares the array of items.
func Page[T any](items []T, name func(T) string, marker *string, maxRecords *int32, lim Limits) (page []T, next *string, err error) {
	n := lim.Default
	if maxRecords != nil {
		n = *maxRecords
		if n < lim.Min || n > lim.Max {
			return nil, nil, Errorf("InvalidParameterValue",
				"Invalid value %d for MaxRecords. Must be between %d and %d", n, lim.Min, lim.Max)
		}
	}
	rest, err := after(items, name, marker)
	if err != nil {
		return nil, nil, err
	}
	if len(rest) <= int(n) {
		return rest, nil, nil
	}
	page = rest[:n:n]
	m := base64.RawURLEncoding.EncodeToString([]byte(markerPrefix + name(page[n-1])))
	return page, &m, nil
}

// after drops the items up to and including the one the marker names. An empty
// marker is the beginning: clients send one.
func after[T any](items []T, name func(T) string, marker *string) ([]T, error) {
	if marker == nil || *marker == "" {
		return items, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(*marker)
	last, ours := strings.CutPrefix(string(raw), markerPrefix)
	if err != nil || !ours || !utf8.ValidString(last) {
		return nil, Errorf("InvalidParameterValue", "The marker provided is invalid: %.100s", *marker)
	}
	lo, hi := 0, len(items)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if name(items[mid]) <= last {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return items[lo:], nil
}
