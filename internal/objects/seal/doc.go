// Package seal encrypts objects at rest.
//
// A Store stands before another one. An object whose key ends in
// ".<name of a key>.age" is encrypted as it is written and decrypted as it is read;
// all others pass as they are. Object makes such keys. What is stored is the age
// format (age-encryption.org/v1): a file key per object, drawn anew each time,
// wrapped to the named key by X25519, and the content in chunks of 64 KiB under
// ChaCha20-Poly1305. No byte of a chunk is handed out before it was authenticated,
// and a file that lacks its end is an error.
//
// A Keyring is a directory of keys, one file for each key of each region, readable by
// its owner alone. A key is made when something is first sealed with it and never
// replaced. Without its file what was sealed with it is lost, which is its purpose.
//
// Sizes are those of the content, not of what is stored.
package seal
