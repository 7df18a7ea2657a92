// Command holdfast serves ElastiCache's API over real Redis and Valkey engines,
// and backs up, restores, generates and compares the data of any of them.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// collectAt is by how many percent the heap may grow before it is collected. The
// mover's heap is one or two large tables of integers, which take the collector no
// time, and buffers that are used again and again: at 100, the default, it would be twice as
// large for nothing. GOGC in the environment goes before it.
const collectAt = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
