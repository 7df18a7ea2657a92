package reconcile

import "holdfast.dev/internal/cache"

// loginsMark stands before the addresses of a forwarder that looks at who logs in, so that it
// is another one than the same without. It is no address of anything.
var loginsMark = cache.Address{Host: "iam"}

// withoutLogins takes the mark away, and tells whether it was there.
func withoutLogins(to []cache.Address) ([]cache.Address, bool) {
	if len(to) > 0 && to[0] == loginsMark {
		return to[1:], true
	}
	return to, false
}

// hasLogins tells whether forwarders have to stand at the endpoints because somebody logs in
// with tokens of IAM, which no engine can check. Nodes that are not encrypted have no such
// users: that is refused before.
func (v *View) hasLogins() bool {
	return v.Group != nil && !v.clustered() && v.transit() != "" && v.Group.Access.HasIAM()
}
