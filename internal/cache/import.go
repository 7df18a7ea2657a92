package cache

import "time"

// Import is where the files of a snapshot come from that the service has not taken
// itself.
type Import struct {
	// Staged is the name of the directory, among those of its region that wait to be
	// imported, in which the files stand.
	Staged string
	// Origin says what they were taken of, for people; there is no password in it.
	Origin string
	Files  []ImportFile
}

// ImportFile is one RDB file that waits to be imported.
type ImportFile struct {
	Name        string // in the staged directory
	NodeGroupID string
	Slots       Slots `json:",omitempty"`
	TakenAt     time.Time
	// Fingerprint and Bytes are what whoever wrote the file found it to hold.
	Fingerprint string
	Bytes       int64
	// Method, Consistency, ReplicationID and Offset as in Manifest.
	Method        string
	Consistency   string `json:",omitempty"`
	ReplicationID string `json:",omitempty"`
	Offset        int64  `json:",omitempty"`
}
