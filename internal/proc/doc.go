// Package proc supervises child processes that outlive the supervisor. It knows
// nothing of what they do.
//
// # Contract
//
// A process is known by an identity, a string of the caller's choice that stays
// the same for as long as the thing it runs exists (a node, say). At most one
// process per identity runs at any time, whatever gets killed when: [Supervisor.Start]
// of an identity that is running already returns the one that runs. A [Ref] names
// one process for good, across pid reuse and reboots; the caller keeps it.
//
// Children get a session and process group of their own, umask 077, standard
// input from /dev/null, standard output and error appended to a log file, the
// environment of the [Spec] and nothing of ours, and one more descriptor, 3: the
// lock. They go on when we exit or are killed. [Supervisor.Adopt] takes up a
// process that an earlier supervisor started; exit codes of those are not known.
//
// # How nothing is lost between fork and writing down
//
// Start locks (flock) a file in the run directory that belongs to the identity
// and hands the open file to the child. The kernel keeps the lock until the
// child and all who inherited the descriptor from it have gone. So, with the
// supervisor killed at any instruction, either there is no child and no lock, or
// the lock is held, and the holder is found by looking in /proc for who has the
// file open. A mark in the environment would not do: Redis and Valkey overwrite
// theirs when they set their process title.
//
// The same lock tells Stop when the last descendant is gone, one that left the
// process group included, and tells Start of leftovers (a background save whose
// server was killed), which are killed before a successor touches the same files.
//
// # Invariants
//
//   - No signal is ever sent to a bare pid: what is signalled was opened as a pidfd and
//     its start time compared first, or holds the lock of the identity.
//   - A process that only waits to be reaped (state Z) counts as gone. If it has threads
//     left, which a disk may hold up for seconds after SIGKILL, they have the lock, and
//     it is waited for.
//   - Zombies of our own children are reaped. Those of adopted ones, and their orphans,
//     are left to init; run as pid 1 of a container, put an init in front.
//   - Close ends every goroutine and leaves every child running.
//
// # Other systems than Linux
//
// Without /proc and pidfd the same functions use ps and lsof and look 20 times a
// second; start times are exact to the second only. They serve for trying things
// out on a developer's machine.
package proc
