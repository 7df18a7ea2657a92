//go:build unix

package resp

import "syscall"

// writeNow hands the system as many of the bytes as it takes without waiting, and
// says how many those were. None, where something is wrong: writing in the ordinary
// way tells what. No other write may be under way.
func (c *Conn) writeNow(p []byte) int {
	if c.opt.TLS != nil {
		return 0
	}
	sc, ok := c.nc.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	// It fails only when the connection has been cut or closed.
	_ = raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), p)
		return true
	})
	return max(n, 0)
}
