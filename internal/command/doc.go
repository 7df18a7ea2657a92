// Package command knows what the commands do that servers write into their
// replication stream and their append-only file: which keys a command changes,
// and which database it works on afterwards.
//
// It covers every command with the write flag of Redis 2.8 to 8 and of Valkey
// 7.2 to 9, and what else comes in a stream: SELECT, MULTI and EXEC, PING,
// REPLCONF, PUBLISH, SCRIPT, FUNCTION. What it does not know (commands of
// modules) is Unknown, and nothing is guessed: the server can be asked with
// COMMAND GETKEYS.
//
// Contract
//
//   - Keys are those that COMMAND GETKEYS of the engines names; Written are those
//     of them that the command may change. A key that is not Written stays as it is.
//   - A command whose arguments cannot be right is Unknown too.
//   - The content of arguments that are no names, keys or counts is never looked at: they
//     may be nil.
//   - A script that came as such (EVAL, in the streams of servers before Redis 5)
//     may change keys that it does not name: Undeclared.
package command
