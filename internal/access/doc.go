// Package access understands access strings: what ElastiCache's users are given to say
// which commands, keys and channels they may use, in the engines' own ACL rules.
//
// Contract. Parse refuses what no engine understands, what only an administrator may
// have, and everything that concerns passwords, which are no part of an access string.
// What it accepts it can print, as ElastiCache does: "~a:*" becomes "off ~a:* -@all".
//
// Invariants: a user with the printed rules may do nothing that one with the rules as
// they were written may not, on any engine. So rules of one kind (commands, keys,
// channels, databases) are never reordered, and none is left out but those that an
// engine itself forgets: what stands before the last +@all or -@all, and what a later
// rule takes back as a whole. Printing what was printed changes nothing.
package access
