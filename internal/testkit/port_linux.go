package testkit

import (
	"fmt"
	"net"
)

// claims are the sockets that hold our blocks; the kernel closes them with the
// process, however it ends. The lock of ports guards them.
var claims []net.Listener

// claimBlock makes a block of ports this process's own among all processes that
// use testkit, or returns false if another has it. A name in the abstract space of
// Unix sockets has one owner in the network namespace, which is where ports live too.
func claimBlock(block int) bool {
	l, err := net.Listen("unix", fmt.Sprintf("@holdfast-testkit-ports-%d", firstPort+block*blockSize))
	if err != nil {
		return false
	}
	claims = append(claims, l)
	return true
}
