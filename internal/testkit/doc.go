// Package testkit gives tests real servers by version, free ports, a proxy that
// breaks connections on purpose, and polling with a deadline. Only tests import it.
//
// # Contract
//
//   - Everything a test starts here is gone when the test ends: processes with
//     their children, ports, files, goroutines. The engines die with the test
//     binary even when it is killed (Linux).
//   - Servers listen on loopback only. Ports lie below the range from which the
//     kernel takes ports of outgoing connections, so nobody takes one in between.
//   - What goes wrong inside fails the test with the engine's own log.
//   - A missing engine skips the test and says what to run; with CI set it fails.
//
// Methods that can fail the test must be called from the test's own goroutine, as
// testing.TB.Fatal asks; Try may be called from any.
package testkit
