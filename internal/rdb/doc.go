// Package rdb reads and writes the RDB format of Redis and Valkey, every
// version from 1 to 12 of Redis and 80 of Valkey, and the payloads of DUMP,
// which hold the same values.
//
// It has two layers. The first finds where values begin and end and leaves
// them encoded: Reader, Writer, AppendDump and ParseDump. A value read by it is
// byte for byte what DUMP returns between its type byte and its footer, so it
// can be handed to RESTORE or written to another file as it is. The second
// looks inside: a Decoder walks the elements of a value, whatever its encoding,
// and the Append functions make values from elements.
//
// Between dialects and to older versions stands the Transcoder: it passes on
// untouched what its Target reads as it is, writes anew what the target knows
// in another encoding, and reports as a LossError what the target cannot hold.
//
// Contract
//
//   - Input is hostile until proven otherwise. No input makes this package panic
//     or loop without consuming bytes, and no claimed length is allocated before
//     the bytes that it claims have arrived.
//   - A file is whole only when Reader.Next has returned io.EOF: only then the
//     end marker was seen and the checksum, where the file has one, was right.
//     Entries handed out before may come from a damaged file.
//   - Every error of reading is an *Error that says at which byte, and wraps one
//     of the Err sentinels or the error of the underlying reader.
//   - An unknown type stops the reading, because nothing says where it ends.
//   - Entries, and elements of values, are valid until the next one is asked for.
//
// Values of any size pass in the memory of a window, about a quarter of a MiB, where
// Reader.StreamAbove is set: Entry.Body reads them, Writer takes them, Decoder.WalkBody
// and Transcoder.Body look inside. What must be held as one all the same is said
// there, and ends at 512 MiB. Without StreamAbove values are assembled.
//
// The same type byte can mean different things to Redis and to Valkey; which
// one is meant follows from the version, which is why values travel with it.
package rdb
