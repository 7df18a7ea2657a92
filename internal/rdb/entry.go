package rdb

import "io"

// Entry is one key with its value, undecoded.
type Entry struct {
	// DB is the number of the logical database.
	DB int
	// Key is the key's name as plain bytes.
	Key []byte
	// Type is the type byte that says how Value is encoded, in the dialect of Version.
	Type byte
	// Version is the RDB version of the file or payload that the value came
	// from; 0 stands for that of the file it is written to.
	Version int
	// Value is what the file holds after the key, which is also what DUMP
	// returns between its type byte and its footer.
	Value []byte
	// Body, if set, reads the value's bytes in place of Value, which is then nil;
	// see Reader.StreamAbove. It can be read once, before the next entry is asked for.
	Body io.Reader
	// ExpireAt is the Unix time in milliseconds at which the key expires; 0 means never.
	ExpireAt int64
	// Idle is the LRU idle time in seconds and Freq the LFU counter (0 to 255); -1 where the file has none.
	Idle int64
	Freq int
}

// Aux is one of a file's informational fields, such as redis-ver, valkey-ver,
// ctime (seconds), used-mem (bytes), repl-id and repl-offset.
type Aux struct{ Name, Value string }

// FunctionLibrary is a library of server-side functions. Raw is what the file
// holds after the opcode.
type FunctionLibrary struct {
	// PreRelease marks the form of Redis 7.0's release candidates, which no release loads.
	PreRelease bool
	Raw        []byte
}

// Code returns the library's source text. Of the pre-release form it is the
// text with the header line that the final form has.
func (f FunctionLibrary) Code() (string, error) {
	c := cursor{buf: f.Raw}
	if !f.PreRelease {
		code, _, err := c.str(nil)
		return string(code), err
	}
	var parts [4]string // name, engine, description, code
	for i := range parts {
		if i == 2 {
			described, err := c.length()
			if err != nil {
				return "", err
			}
			if described == 0 {
				continue
			}
		}
		s, _, err := c.str(nil)
		if err != nil {
			return "", err
		}
		parts[i] = string(s)
	}
	return "#!" + parts[1] + " name=" + parts[0] + "\n" + parts[3], nil
}
