package reconcile

import (
	"fmt"
	"math"

	"holdfast.dev/internal/cache"
)

// evidence is what the choice between a forked and a forkless save rests on. Sizes
// are in bytes.
type evidence struct {
	// Run is the engine's name of the process that it is about.
	Run string
	// Used is what the data of the node take, Node what it may take in all by its
	// type, the reserve included; 0 for no limit.
	Used, Node int64
	// Free is what the machine, or the container, can still give; what other forked
	// saves were promised is not in it. Keep of it has to stay free.
	Free, Keep int64
	// Changes are keys written to a second; less than 0 if that is not known.
	Changes float64
	// Speed is how many bytes of data a forked save of the node gets done a second.
	Speed float64
	// Stopped is why a forked save had to be stopped before; "" if none had to be.
	Stopped string
	// Tiered: part of the data is on disk, where no forkless save reads them.
	Tiered bool
}

// choice is how a node is to be backed up.
type choice struct {
	Forkless bool
	// Copies is how many bytes a fork is expected to copy at most.
	Copies int64
	// Node is what the node may take in all; 0 for no limit.
	Node int64
	// Keep of the machine's memory has to stay free while it is done.
	Keep int64
	// Reason is for the manifest, with all figures.
	Reason string
}

const (
	pageSize = 4096
	// pagesPerChange: a write changes the page of its value and that of what leads
	// to it. Measured saves under load copied a tenth to a fifth less than that gives.
	pagesPerChange = 2
	// marginOf the expectation is added to it: a quarter.
	marginOf = 4
	// tableShare of the data is what a fork copies at once: eight bytes a page.
	tableShare = pageSize / 8
	// forkFixed is what a child takes for itself.
	forkFixed = 4 << 20
	// assumedSpeed of a save that was never measured, under load.
	assumedSpeed = 100 << 20
)

// worst is what a fork copies when everything is written to while it lives.
func (e *evidence) worst() int64 { return e.Used + e.Used/tableShare + forkFixed }

// expected is what a fork will probably copy, with a margin.
func (e *evidence) expected() int64 {
	if e.Changes < 0 || e.Used <= 0 {
		return e.worst()
	}
	pages := float64(e.Used) / pageSize
	written := e.Changes * e.seconds() * pagesPerChange
	copied := int64(float64(e.Used) * (1 - math.Exp(-written/pages)))
	return min(copied+copied/marginOf+e.Used/tableShare+forkFixed, e.worst())
}

// seconds that a forked save takes.
func (e *evidence) seconds() float64 {
	speed := e.Speed
	if speed <= 0 {
		speed = assumedSpeed
	}
	return float64(e.Used) / speed
}

// room is what the node's reserve has for copies, and allowance what there is for
// them in all.
func (e *evidence) room() int64 {
	if e.Node <= 0 {
		return math.MaxInt64
	}
	return max(e.Node-e.Used, 0)
}

func (e *evidence) allowance() int64 { return min(e.room(), max(e.Free-e.Keep, 0)) }

// fitsAnyway tells that a fork may be had whatever is written meanwhile, so that
// the rate of writing need not be known.
func (e *evidence) fitsAnyway() bool { return e.worst() <= e.allowance() }

// chooseMethod is ElastiCache's rule: a node forks where there is memory for what
// has to be copied meanwhile, and does without where there is not.
func chooseMethod(e evidence) choice {
	c := choice{Copies: e.expected(), Node: e.Node, Keep: e.Keep}
	switch {
	case e.Tiered:
		c.Reason = "data on disk can be saved by a fork alone"
	case e.Stopped != "":
		c.Forkless, c.Reason = true, e.Stopped
	case e.fitsAnyway():
		c.Copies = e.worst()
		c.Reason = fmt.Sprintf("there is memory for a copy of all data: they take %s, and %s", size(e.Used), e.has())
	case c.Copies <= e.allowance():
		c.Reason = fmt.Sprintf("a fork is expected to copy at most %s%s, and %s", size(c.Copies), e.because(), e.has())
	default:
		c.Forkless = true
		c.Reason = fmt.Sprintf("a fork might copy %s%s, and %s", size(c.Copies), e.because(), e.has())
	}
	return c
}

func (e *evidence) because() string {
	if e.Changes < 0 {
		return ""
	}
	return fmt.Sprintf(" (%.0f writes a second for about %.0f s over %s of data)", e.Changes, math.Ceil(e.seconds()), size(e.Used))
}

func (e *evidence) has() string {
	machine := fmt.Sprintf("the machine has %s free, %s of which are kept", size(e.Free), size(e.Keep))
	if e.Node <= 0 {
		return machine
	}
	return fmt.Sprintf("the node has %s left of its %s and %s", size(e.room()), size(e.Node), machine)
}

// Bounds of what is kept free: a thirty-second part of the machine, but so much at
// least and at most.
const (
	keepShare = 32
	keepLeast = 64 << 20
	keepMost  = 512 << 20
)

// keepFree is how much of a machine's memory a save must leave.
func keepFree(total int64) int64 { return min(max(total/keepShare, keepLeast), keepMost) }

// told is the choice in the words of an event. What is the ordinary case needs no figures.
func (c *choice) told(node string) string {
	if c.Forkless {
		return fmt.Sprintf("%s was backed up without a fork: %s", node, c.Reason)
	}
	return node + " was backed up by a forked save: there was memory for it"
}

// roomNow is what a node that has grown since has left for copies.
func (c *choice) roomNow(h *cache.Health) int64 {
	e := evidence{Used: h.UsedMemory, Node: c.Node}
	return e.room()
}

// size prints bytes for people.
func size(n int64) string {
	const mib, gib = 1 << 20, 1 << 30
	switch {
	case n >= gib:
		return fmt.Sprintf("%.2f GiB", float64(n)/gib)
	case n >= mib:
		return fmt.Sprintf("%.1f MiB", float64(n)/mib)
	}
	return fmt.Sprintf("%d bytes", n)
}
