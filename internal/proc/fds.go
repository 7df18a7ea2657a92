package proc

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// keepToOurselves marks the descriptors that we were started with as closed on
// exec, so that they do not pass on to children that outlive us: a pipe of the
// shell that started us, say, would never end. Those that Go opens are marked anyway.
func keepToOurselves() error {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return fmt.Errorf("cannot list our descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}
