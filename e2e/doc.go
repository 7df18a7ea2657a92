// Package e2e tests the program as a whole, from outside: it builds it, starts
// "holdfast serve" on real engines, and speaks to it through the AWS SDK, the AWS
// CLI and the engines' own protocol. The crash tests kill it wherever it writes
// something down, and expect the work to go on.
package e2e
