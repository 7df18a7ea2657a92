// Package sink holds the places that entries go to.
//
//   - Server: a live server or cluster, filled by pipelined RESTORE and SET.
//   - Primary: a live server that is empty, filled by being its primary for a while.
//   - RDB: an RDB file, or anything that takes one byte after the other and can
//     be made visible at the end.
//   - RESP: the commands themselves, for "redis-cli --pipe".
//   - Discard: nowhere; it counts.
//
// Contract, besides that of flow.Sink
//
//   - A value passes as it is where the target reads its encoding; only what
//     frames it is made for the target: the version in RESTORE's footer, the header
//     of a file. Otherwise it is written again in an encoding that the target reads.
//   - A value that the target cannot hold is refused by name (rdb.ErrType) before
//     anything of it is sent: some engines die of such a value.
//   - Every reply of a server is checked; the error names the key.
//   - A lost connection, a redirection, a passing refusal: a Server sends again what was
//     not confirmed, for a while, and never an older version of a key after a newer one.
//   - A server has no undo: after an error it holds a part of the data. A file
//     that was not committed does not exist under its name.
package sink
