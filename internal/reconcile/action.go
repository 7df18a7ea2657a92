package reconcile

import (
	"time"

	"holdfast.dev/internal/cache"
)

// Kind of an action.
type Kind string

// The actions. Target is the key of a cache cluster unless said otherwise.
const (
	actSeed      Kind = "seed"      // put the first data where the engine will load it
	actStart     Kind = "start"     // start the process
	actReady     Kind = "ready"     // wait until the node has its data
	actConfigure Kind = "configure" // tell the running node its role and addresses
	actVerify    Kind = "verify"    // compare the node with what it was seeded from
	actPromote   Kind = "promote"   // choose a replica to lead; target: the group
	actForward   Kind = "forward"   // stand in front of nodes; target: the endpoint
	actUnforward Kind = "unforward" // stop doing so
	actFinish    Kind = "finish"    // creation is complete; target: the unit
	actGiveUp    Kind = "give-up"   // creation has failed; target: the unit
	actRemove    Kind = "remove"    // stop the process and delete its directory
	actDrop      Kind = "drop"      // delete the records; target: the unit
	actKeep      Kind = "keep"      // deletion is called off; target: the unit
	actSnapshot  Kind = "snapshot"  // back up; target: the snapshot
	actCopy      Kind = "copy"      // copy a snapshot; target: the new one
	actExport    Kind = "export"    // write a snapshot into a bucket; target: the snapshot
	actImport    Kind = "import"    // take what was backed up elsewhere into a snapshot; target: the snapshot
	actUnstage   Kind = "unstage"   // delete the files that a snapshot was imported from; target: the snapshot
	actScrub     Kind = "scrub"     // read a stored snapshot again; target: the snapshot
	actErase     Kind = "erase"     // delete a snapshot's files and record; target: the snapshot
	actBackup    Kind = "backup"    // begin an automatic snapshot; target: the unit
	actMissed    Kind = "missed"    // tell that a snapshot window passed without one; target: the unit
	actExpire    Kind = "expire"    // an automatic snapshot's days are over; target: the snapshot
	actAbandon   Kind = "abandon"   // a snapshot, copy or export has failed for good; target: the snapshot
	actJoin      Kind = "join"      // a member that was added has its data: the others learn of it
	actCallOff   Kind = "call-off"  // a member does not come, go or lead after all
	actLeave     Kind = "leave"     // a member that is to go stops being one
	actPart      Kind = "part"      // a member that was stopped for good is forgotten
	actDemote    Kind = "demote"    // the primary follows the member that is to lead; target: the group
	actSettle    Kind = "settle"    // a change of members, or a tested failover, is complete; target: the group
	actTest      Kind = "test"      // kill a primary, to test its failover; target: the group
	actReshard   Kind = "reshard"   // work out which slots are to move; target: the group
	actMove      Kind = "move"      // move slots; target: the group and two node groups
	actConclude  Kind = "conclude"  // a resharding is over; target: the group
	// tell the running node the values of its parameter group
	actParameters Kind = "parameters"
	actEncrypt    Kind = "encrypt"  // who has to encrypt has changed everywhere; target: the group
	actAccess     Kind = "access"   // tell the running node who may log in
	actReboot     Kind = "reboot"   // stop a node that is to be started anew
	actRebooted   Kind = "rebooted" // a reboot is over
	actBegin      Kind = "begin"    // begin what was pending; target: the unit
	actHasten     Kind = "hasten"   // what is pending need not wait any more; target: the unit
	actResize     Kind = "resize"   // tell a running node that it is of another node type
	// Of Memcached. Targets of the first and of those above are nodes by their keys, of the
	// others clusters.
	actRestart Kind = "restart" // stop a node that is to be started anew, with its items kept
	actFront   Kind = "front"   // stand before the nodes, and answer auto discovery
	actUnfront Kind = "unfront" // stop doing so
	actList    Kind = "list"    // change the list that auto discovery answers
	actApply   Kind = "apply"   // begin what was put off until the maintenance window
)

// Action is one thing to do.
type Action struct {
	Kind   Kind
	Target string
	// Source is the node that an automatic backup is to be taken of, by key.
	Source string
	// At and To belong to forward and unforward. A forwarder that tells both kinds of
	// clients apart has two addresses for each node in To: its own and that for TLS.
	At cache.Address
	To []cache.Address
	// Window belongs to backup and missed: its beginning.
	Window time.Time
	// Reason belongs to give-up, abandon, call-off and conclude, and to a scrub that cannot
	// be done or a change that cannot be begun.
	Reason string
}

// ID is the same for the same need, so that it names the action's step.
func (a Action) ID() string { return string(a.Kind) + " " + a.Target }

// Decision is what Plan says.
type Decision struct {
	// Do are the actions that are due; they may run side by side.
	Do []Action
	// Cancel are the ids of running actions that have lost their sense.
	Cancel []string
	// Again is when to plan anew even if nothing changes; zero for never.
	Again time.Time
}

// and is both decisions in one.
func (d Decision) and(o Decision) Decision {
	d.Do, d.Cancel = append(d.Do, o.Do...), append(d.Cancel, o.Cancel...)
	if d.Again.IsZero() || !o.Again.IsZero() && o.Again.Before(d.Again) {
		d.Again = o.Again
	}
	return d
}

// Attempts after which an action is given up, where that ends in a failed
// status; all others are tried for ever, ever more slowly.
var attemptsFor = map[Kind]int{
	actSeed:   4,
	actStart:  6,
	actReady:  4,
	actVerify: 3,
	// These two end a creation; a unit that serves tries them for ever.
	actConfigure: 8,
	actForward:   8,
	actFront:     8,
	actSnapshot:  3,
	actCopy:      4,
	actExport:    4,
	actImport:    4,
	actScrub:     10, // a minute and a half
	actJoin:      8,
	// Either is about three minutes, and of a move only such as got nowhere count.
	actReshard: 12,
	actMove:    12,
	actDemote:  5,
	actResize:  6,
	// These end an upgrade.
	actPrepare:  3,
	actLaunch:   6,
	actCatchUp:  4,
	actCompare:  3,
	actTakeOver: 5,
	// Of an upgrade in cluster mode.
	actRecruit:  6,
	actProve:    10, // a minute and a half: for a while after its start a primary answers nothing
	actExchange: 8,
	actHandOver: 12,
}

// retryDelay is how long a failed action rests before its next attempt.
func retryDelay(attempts int) time.Duration {
	const first, most = 200 * time.Millisecond, 30 * time.Second
	d := first
	for range attempts - 1 {
		if d *= 2; d >= most {
			return most
		}
	}
	return d
}
