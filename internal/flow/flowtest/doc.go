// Package flowtest holds the conformance suites of flow.Source and flow.Sink:
// what every one of them must do, whatever it reads from or writes to. A new kind
// of source or sink calls its suite in one test.
package flowtest
