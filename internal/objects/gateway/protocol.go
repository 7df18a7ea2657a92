package gateway

// Key is an access key that the children accept.
type Key struct {
	AccessKeyID string `json:"id"`
	Secret      string `json:"secret"`
}

// setup is the first line that a child reads from its standard input, as JSON.
type setup struct {
	Region string `json:"region"`
	// Root holds one directory for each region.
	Root   string `json:"root"`
	Socket string `json:"socket"`
	// Account owns every bucket: 12 digits.
	Account string `json:"account"`
	// Internal signs the requests of the parent itself.
	Internal Key   `json:"internal"`
	Keys     []Key `json:"keys"`
}

// update is any later line. The end of the input means that the parent is gone.
type update struct {
	// Keys replaces the accepted keys unless it is nil; empty, it leaves none.
	Keys []Key `json:"keys"`
	// Stop asks to finish what is under way and end.
	Stop bool `json:"stop,omitempty"`
}

const (
	// readyLine is what a child prints once its socket listens.
	readyLine = "holdfast-s3 ready"
	// keysLine is what it prints for each list of keys that it was sent and has taken.
	keysLine = "holdfast-s3 has its keys"
	// healthPath cannot be the name of a bucket.
	healthPath = "/-/health"

	metaDir     = ".meta"
	versionsDir = ".versions"
)
