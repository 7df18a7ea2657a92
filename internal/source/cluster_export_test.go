package source

import "time"

// SetPatience is how long a Cluster waits in a test.
func (c *Cluster) SetPatience(d time.Duration) { c.patience = d }
