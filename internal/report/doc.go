// Package report takes down what the nodes of a cache hold and do while they are
// upgraded or resized: before, meanwhile and afterwards, in one figure each.
//
// Contract: it is given what the engines say, as often as somebody likes to ask them, and adds
// up. A counter that begins anew with another process counts from nothing. What is in the
// report is all that it knows, so that it goes on after a restart of the service as if
// there had been none.
package report
