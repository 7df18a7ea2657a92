//go:build !unix

package resp

// writeNow writes nothing: what cannot be done without waiting is the sender's.
func (c *Conn) writeNow([]byte) int { return 0 }
