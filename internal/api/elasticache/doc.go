// Package elasticache answers the actions of ElastiCache: it reads the SDK's
// inputs, calls control, and shows its records as the SDK's outputs. It decides
// nothing and stores nothing.
//
// Contract. Every member of an input is either handed on, or refused by name
// when it asks for something that is not built (refused.go), or listed in the
// test as one that asks for nothing. None is dropped in silence.
//
// What is shown is what the records say. Endpoints appear once the cache is
// available, as with ElastiCache; encryption, authentication and cluster mode are
// shown as off because they are.
package elasticache
