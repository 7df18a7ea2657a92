package monitor

import (
	"fmt"
	"time"
)

// Reply is what a node said last.
type Reply int

// The replies. Any of them shows that the engine lives.
const (
	NoReply Reply = iota // it has never been heard
	Pong
	BusyReply    // a script or function runs, and has for long
	LoadingReply // it reads its data
)

// View is what the replicas say of their link to a primary, since it owes an answer.
type View int

// The views.
const (
	NotAsked View = iota
	// LinkStill: it stands, and nothing has come through it. That says nothing.
	LinkStill
	// LinkMoves: something has come through it. The primary lives.
	LinkMoves
	// LinkDown: all replicas have lost it.
	LinkDown
)

// States of a process, as the kernel's letters.
const (
	gone    = 0
	running = 'R'
	asleep  = 'S'
	blocked = 'D'
	stopped = 'T'
	traced  = 't'
	zombie  = 'Z'
)

// Evidence is what is known of one node.
type Evidence struct {
	// Void says that this process itself came late, so that nothing follows.
	Void bool
	// State of the node's process, 0 when it is not there; Unseen says that the process
	// table could not be read.
	State  byte
	Unseen bool
	// Idle is for how long the process is known to have used no processor time.
	Idle time.Duration
	// Last is what it said last. Owed is for how long a question has been without an
	// answer; 0 while none is. Refused: it does not even take connections.
	Last    Reply
	Owed    time.Duration
	Refused bool
	// Replicas is what they say.
	Replicas View
}

// Kind of a verdict.
type Kind int

// The verdicts.
const (
	Fine Kind = iota
	// Dead: the process has ended. Whoever waits for that acts.
	Dead
	// Hung: it lives and will not answer.
	Hung
	// Busy: it is at work, or reads its data.
	Busy
	// Unsure: it does not answer, and what else is known does not agree.
	Unsure
)

// Verdict is what follows from evidence, and why in words for people.
type Verdict struct {
	Kind Kind
	Why  string
}

// How long a node may owe an answer before anything follows.
const (
	// stoppedAfter: a process that is stopped goes on only when it is told to. Whoever
	// stops one for a moment, to look at its stack or to freeze a container, tells it so
	// well within this time, and is not to cost a failover. Waiting for longer would:
	// with the time until a question is due, and with what follows, nobody could write
	// for half a second.
	stoppedAfter = 200 * time.Millisecond
	// cutAfter: replicas that have lost their link leave little doubt.
	cutAfter = 300 * time.Millisecond
	// idleAfter: an engine that sleeps though there is something to read waits for
	// something. That may end.
	idleAfter = 15 * time.Second
	// newAfter: one that was never heard may be on its way.
	newAfter = 5 * time.Second
)

// Judge says what follows from the evidence.
func Judge(e Evidence) Verdict {
	switch {
	case e.Void:
		return Verdict{Fine, ""}
	case !e.Unseen && (e.State == gone || e.State == zombie):
		return Verdict{Dead, "its process has ended"}
	case e.Owed == 0 && !e.Refused:
		return answered(e)
	case e.Last == NoReply && e.Owed < newAfter:
		return Verdict{Fine, ""}
	case e.Replicas == LinkMoves:
		return Verdict{Unsure, "its replicas hear from it"}
	}
	return owing(e)
}

// answered judges a node that owes nothing.
func answered(e Evidence) Verdict {
	switch e.Last {
	case BusyReply:
		return Verdict{Busy, "a script or function has been running for long"}
	case LoadingReply:
		return Verdict{Busy, "it reads its data"}
	}
	return Verdict{Fine, ""}
}

// owing judges a node that owes an answer: the probe speaks against it.
func owing(e Evidence) Verdict {
	process, why := processSays(e)
	cut := e.Replicas == LinkDown && e.Owed >= cutAfter
	switch {
	case process == alive:
		return Verdict{Busy, why}
	case process == dead:
		return Verdict{Hung, why}
	case process == open && cut:
		return Verdict{Hung, why + ", and its replicas have lost their link to it"}
	}
	return Verdict{Unsure, why}
}

// vote is what one witness says.
type vote int

const (
	open   vote = iota // it may be either
	alive              // it works
	dead               // it will not do anything by itself
	barred             // somebody else has it in hand
)

// processSays is the vote of the process table.
func processSays(e Evidence) (vote, string) {
	switch {
	case e.Unseen:
		return open, "the process table does not tell of it"
	case e.State == traced:
		return barred, "its process is held by a debugger"
	case e.State == stopped && e.Owed >= stoppedAfter:
		return dead, "its process is stopped"
	case e.State == stopped:
		return open, "its process is stopped"
	case e.State == running:
		return alive, "its process is running"
	case e.Idle == 0:
		return alive, "its process uses the processor"
	case e.Idle >= idleAfter && e.Owed >= idleAfter:
		return dead, fmt.Sprintf("its process has done nothing for %s", e.Idle.Round(time.Second))
	case e.State == blocked:
		return open, "its process waits for the disk or for memory"
	case e.Refused:
		return open, "its process lives and takes no connections"
	}
	return open, "its process sleeps"
}
