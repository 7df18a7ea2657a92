// Package reconcile makes what is asked for true.
//
// Plan is pure: it compares the records of one unit (a replication group with
// its members, a cache cluster on its own, a snapshot) with what is wanted and
// says which actions are due now, which running ones to break off, and when to
// look again. It has no clock, no I/O and no memory; each decision has a file.
//
// What concerns the data of a group is decided shard by shard (shards.go): who
// leads, who is started, what is seeded. A group without cluster mode has one.
//
// Runner is dull: it reads what has changed in the records, plans the units that it
// concerns (look.go), and every minute all of them, writes an action down
// as a step, does it, and writes down what came of it in one transaction with
// the step's end. An action that was cut short is simply due again; each one
// finds out by itself what of it has already happened.
//
// TellAgain, NoteParked and NoteStopped are for whoever stops nodes while no
// Runner runs: they leave the records so that the next Runner loses nothing.
//
// The packages that really act are seen through the small interfaces in seam.go.
package reconcile
