// Package engine makes one node be what its specification says: it writes the
// configuration of a Redis or Valkey server, starts it or finds the one that
// runs, asks it how it is, and changes its role, addresses and parameters while
// it runs. What differs from one version to another stands in tables
// (directives, parameters, commands), not in the code.
//
// # Contract
//
//   - Every method may be called again for something that has already happened.
//     One node is worked on by one caller at a time: calls for the same key wait
//     for each other, except Probe, AwaitReady and the read-only ones.
//   - A node's directory is <DataDir>/nodes/<region>/<id>, mode 0700, and
//     everything in it belongs to the node. Files with secrets are 0600.
//   - A node that is not Seeded and whose parameters ask for no persistence
//     starts empty, always: Start removes whatever an earlier run left. A Seeded
//     node starts from SeedPath or not at all.
//   - No secret is ever on a command line, in a log or in an error.
//   - An error that another attempt cannot cure wraps cache.ErrPermanent and
//     carries the engine's own last words.
//
// # A primary that comes back empty
//
// A primary without persistence that is started again holds nothing, and its
// replicas, which know its address, would follow it and become empty too. The
// caller must promote a replica first (Reconfigure with a zero Primary) and
// start the former primary as a replica; Start cannot see the other nodes and
// does not try to.
//
// # Cluster mode
//
// A node with a Cluster finds it in nodes.conf, which Start writes as the spec has
// it: who is there, who leads and with which slots. Nobody introduces nodes to each
// other, so a cluster forms without an order, and a node that was replaced as a
// primary while it was dead starts as a replica without asking anyone. Only the
// epochs are taken over from the file of the last run. Roles change by Reconfigure
// alone (CLUSTER FAILOVER TAKEOVER, CLUSTER REPLICATE); the engines' own election and
// the migration of replicas are off. A node is never started with an endpoint among
// its Binds: its bus would hold that address too, for as long as it lives. AwaitReady
// tells that a node has its data, AwaitFormed that the cluster around it is whole;
// for two seconds after its start a primary refuses commands on keys.
//
// # Slots on the move
//
// MoveSlots moves slots between shards that serve; package slots says how. A spec that
// lists slots as Moving is not believed in who has them: a node that is started keeps of
// those what its own nodes.conf said, marks and all, and AwaitFormed takes them wherever
// they are. Introduce and Forget tell running nodes who has come and who has gone.
//
// # Addresses
//
// A node listens at its own address and at Binds, the endpoints it holds. The
// engine binds those itself, so the kernel sees to it that only one process can
// hold each: binding one that another process still holds fails, also when that
// process hangs, until it is killed. Outgoing links leave from the node's own
// address. A promoted node accepts writes before it takes an endpoint, and a
// demoted one lets go of it, and cuts the clients that came through it, before
// it becomes a replica. Redis before 7.0 cannot change its addresses while it
// runs: for such builds (CanRebind) Binds must stay empty and a forwarder
// stands in front.
//
// An engine that is told to change its addresses just after it forked, before
// the child has closed what it inherited, gets neither the new ones nor the old ones
// back, and listens nowhere. Reconfigure keeps at it until the node answers again.
//
// # Encryption
//
// With cache.TransitRequired a node speaks TLS and nothing else, at its own port: to
// clients, to replicas, on the bus of its cluster, and to us. With TransitPreferred it has
// a second port for it (cache.Address.TLS), and nodes among themselves do without.
// Reconfigure changes this while the node serves, from 7.0 on and not in cluster mode
// where the bus would change; it goes by one step at a time, and NodeTransit says from
// where to where, which is how a node is found that may be at either end. Certificates
// are the Authority's; Trusts and Certify renew them while the node serves.
//
// # Users
//
// The administrator's password is in the configuration as a SHA-256 hash, and
// in the clear only as masterauth, which needs it so. Everyone else is one of the
// users of the spec's Access, or, without one, the default user without a password. From
// all of them, and from each of their selectors, the commands that ElastiCache
// withholds are taken away behind whatever their rules give. Grant tells a running node
// its users; nothing else does. ACL LIST and ACL GETUSER show the hashes of passwords:
// they are withheld where there is an Access. Without one they show the administrator's
// to everybody, which is of 256 random bits, so that nobody finds them by trying.
package engine
