//go:build !linux || procps

package proc

// The tag procps makes Linux use these too, so that they can be tested there.

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
)

// bootID changes with every start of the kernel.
var bootID = sync.OnceValues(func() (string, error) {
	name := "kern.bootsessionuuid"
	if runtime.GOOS == "linux" {
		name = "kernel.random.boot_id"
	}
	out, err := runTool("sysctl", "-n", name)
	if err != nil {
		return "", fmt.Errorf("cannot read the boot id: %w", err)
	}
	return strings.TrimSpace(out), nil
})

func readStat(pid int) (stat, error) { return psStat(pid) }

func holders(path string, _ os.FileInfo) ([]int, error) { return lsofHolders(path) }

func members(leader int) ([]int, error) { return psMembers(leader) }

func openHandle(pid int) (handle, error) { return openPolling(pid) }
