// Package controltest stands in for what surrounds control in tests: engines,
// buckets, memory, a clock that is set by hand, and a reconciler that makes
// everything true at once. The store is a real one.
package controltest
