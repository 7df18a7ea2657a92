// Package iam answers AWS IAM, version 2010-05-08: users, their access keys, their own
// policies and the managed ones. It belongs to no region. Everything else of IAM (groups,
// roles, versions of policies beside the first) is refused by name.
//
// The module of IAM's SDK is no dependency of ours: for so few actions its types stand
// here, by hand, in the form that package query reads.
package iam
