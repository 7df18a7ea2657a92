// Package authority is the certificate authority of one installation: it signs the
// certificates of nodes and of the fronts before them, so that clients which know its
// own certificate know that they speak with this installation.
//
// # Contract
//
//   - Open makes the authority at its first call, whole or not at all, or finds the
//     one that is there, which may be somebody's own: ca.pem and ca-key.pem put into the
//     directory before the first start are used as they are, if they belong
//     together and may sign.
//   - The private key never leaves its file (0600, in a directory of 0700) and the memory of the process.
//   - Bundle is what clients are given: the present certificate, and after Rotate the
//     former ones too until they expire, since what they signed is still in use.
//   - Certificates are for servers, for 90 days; Server renews its own while it serves,
//     when a third of that is left.
//
// # Formats
//
// Keys are P-256, certificates X.509 in PEM, as every client library reads them.
package authority
