package reconcile

import (
	"os"
	"syscall"
)

// crashAt names the one place, "<begun|acted|ended> <kind>", at which the
// process kills itself as a power cut would. Crash tests set it; see CONTRIBUTING.md.
var crashAt = os.Getenv("HOLDFAST_CRASH_AT")

func failpoint(place string, k Kind) {
	if crashAt != "" && crashAt == place+" "+string(k) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing is left to tell if it fails
		select {}                                      // never go on past the point
	}
}
