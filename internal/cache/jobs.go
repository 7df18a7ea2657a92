package cache

import "crypto/tls"

// Login is how Holdfast's own administrator reaches a node.
type Login struct {
	Address  Address
	User     string
	Password string
	// TLS is by what the node's certificate is known; nil for a plain connection. It is
	// another one, by its place in memory, for other certificates.
	TLS *tls.Config
	// Also is where the node is, with TLS, if Address takes no connections; zero for nowhere.
	Also Address
}

// VerifyJob asks for a live node to be compared with the file that it was seeded from.
type VerifyJob struct {
	Path string
	Node Login
}

// SnapshotJob asks for the data of a node to be written to an object of the
// region's snapshot store.
type SnapshotJob struct {
	Region string
	Object string
	Node   Login
	Build  string
	// MinOffset in the replication stream that the data must have reached: what
	// had been acknowledged by then is in the snapshot.
	MinOffset int64
	// RunID is the engine's process that has the data; "" if any will do. One that was
	// started anew at the same address may have none.
	RunID string
	// Forkless has the node read as a client reads it, where the memory for a
	// fork is not there.
	Forkless bool
	// Reason is why the method was chosen, and Memory what the data take in the
	// node, in bytes. Both go into the manifest.
	Reason string
	Memory int64
}

// CompareJob asks for what two live nodes hold to be compared: From is the older
// one, which leads, and To follows it.
type CompareJob struct {
	From, To Login
}

// Comparison is what came of one.
type Comparison struct {
	// Keys is how many were compared, in all databases.
	Keys int64
	// Different is how many differ, in value or in expiry, or are at one node alone, and
	// did so each time they were looked at. AtLeast: so many were found, and the rest was
	// not looked at any more. Names are some of them, as a person may read them.
	Different int64
	AtLeast   bool     `json:",omitempty"`
	Names     []string `json:",omitempty"`
	// Expired is how many differ by nothing but that they have expired; Late, how many
	// expire later at To, as on every replica of a Redis before 7.0; Unsettled, how many were
	// written to so often that they were never seen alike at both, nor standing still.
	Expired, Late, Unsettled int64 `json:",omitempty"`
}
