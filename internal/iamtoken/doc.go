// Package iamtoken checks the tokens with which clients of a cache log in that have an
// access key of IAM in place of a password.
//
// A token is a presigned URL of signature version 4 without its "http://": a GET of
// "<replication group>/?Action=connect&User=<user>", for the service elasticache, for at
// most 15 minutes. Check tells whose access key signed it; what the owner of that may do
// is for the caller to decide.
//
// It keeps nothing, and asks nobody but the Keys that it is given.
package iamtoken
