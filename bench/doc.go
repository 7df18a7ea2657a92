// Command bench measures Holdfast beside the limits of the engines it works with
// and prints the ratios:
//
//	go run ./bench [--only NAME,…] [--quick] [--json]
//	go run ./bench mover [--only NAME,…] [--quick] [--large=false] [--json]
//	go run ./bench service [--only NAME,…] [--kills N] [--quick] [--json]
//
// Each line has two durations that were taken alternately in one run, on the same
// data: ours, and that of the least which could possibly do the same (the
// engine's own load of the same file, a bare SCAN and DUMP, BGSAVE alone, a bare
// start of the same engine, a copy of the file, an HTTP handler that replays the
// answer). The last column says how many times the limit's speed ours has: 1.00
// is as fast, 0.50 takes twice as long. Absolute figures belong to the machine
// and the moment, the ratio much less so.
//
// With the word mover it measures the flows of the mover, by the program itself,
// and says beside each whether it is as fast as it has to be.
//
// With the word service it measures how groups are kept in service: how long nobody
// can write after the loss of a primary, what is lost, what endpoints cost, and what
// it costs to watch many groups.
//
// Nothing here passes or fails by a time; what fails is a measurement that does
// not do what it says, such as a fingerprint that saw too few keys.
//
// The engines come from the catalogue that the service uses; a missing one leaves
// its lines out, with a note. Everything happens in a temporary directory, on
// loopback, and is gone afterwards.
package main
