package resp

// SendBeside writes commands that are already encoded, from another goroutine
// than the one that receives; one at a time. When it fails the connection is
// cut, so that whoever waits for replies learns of it.
func (c *Conn) SendBeside(cmds []byte) error {
	if err := c.write(cmds); err != nil {
		c.cutWith(err)
		return err
	}
	return nil
}
