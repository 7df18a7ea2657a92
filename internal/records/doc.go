// Package records names the tables of the service and holds the few operations
// on them that more than one package needs. It decides nothing: control writes
// what is asked for, reconcile what was seen.
//
// Groups, Clusters, Snapshots, SubnetGroups, ParameterGroups, Users and UserGroups are keyed "<region>/<id>" as their
// Key methods say; Steps by Step.ID; Events by region and time, so that a scan
// of a region goes from old to new; Addresses by host and port.
//
// Invariant: an address that somebody owns is in Addresses exactly once, and
// leaves the table when it is released. Which address is given next is kept in
// the pool's record, which only ever moves forward and around: so an address
// that was let go comes back as late as possible, and a client that still
// dials it finds nobody rather than a stranger.
package records
