// Package policy reads identity-based IAM policies and decides by them. It is pure: no
// clock, no records, no network; it imports nothing of ours.
//
// Parse is strict. What it does not know (an element, an operator, a condition key, a
// value that the operator cannot read) is refused with *Malformed, never ignored: a
// condition that is silently dropped would let in whom it was to keep out. Two members of
// one name in one object are refused for the same reason.
//
// Evaluate follows IAM: an explicit deny in any policy wins, else any allow lets in, else
// the request is denied. A missing condition key makes a condition false, unless its
// operator is a negated one, ends in IfExists, or begins with ForAllValues.
//
// A key of one value has several where tags differ in nothing but the case of their keys.
// Then a condition without a set operator has to hold for all of them in an Allow, and for
// one of them in a Deny.
//
// Patterns. In an ARN '*' and '?' stay within one of the parts between the colons, but a
// '*' that ends a part may go on beyond it; the last part, the resource, may hold colons.
// Actions are compared without case, ARNs with it. What a policy variable puts in is
// never a wildcard.
//
// A variable without a value and without a default fails closed: in an Allow the
// statement does not apply; in a Deny a resource with it matches nothing, and a condition
// value with it equals nothing.
package policy
