// Package shapes holds tables over the AWS SDK's types: what the Query protocol
// needs to know and reflection cannot tell. The tables are generated from the
// SDK's own sources by ./gen and committed; `go generate` must not change them.
//
// The generator refuses an SDK that uses something the codec does not model (a
// flattened list, a map), so
// an update of the SDK fails there and not in front of a client.
//
// The package imports nothing.
package shapes

//go:generate go run ./gen

// Service is what is known of one AWS service.
type Service struct {
	// Name is the service name in the credential scope.
	Name string
	// Version is the API version a request must name.
	Version string
	// Namespace is the XML namespace of replies.
	Namespace string
	// Actions are all actions of the API, by name.
	Actions map[string]Action
	// Names maps "Struct.Member" to the name on the wire where it differs.
	Names map[string]string
	// Items maps "Struct.Member" to the element name of a list's items. A list
	// that is not here uses "member".
	Items map[string]string
	// Required maps a struct to its required members, in the SDK's order.
	Required map[string][]string
	// Status maps an error code to its HTTP status. Every modelled code is here.
	Status map[string]int
}

// Action is one operation of an API.
type Action struct {
	// Input and Output are the names of the SDK's structs.
	Input, Output string
	// Result tells whether the reply has a result element.
	Result bool
}

// Wire returns the name of a struct's member on the wire.
func (s *Service) Wire(structName, member string) string {
	if name, ok := s.Names[structName+"."+member]; ok {
		return name
	}
	return member
}

// Item returns the element name of the items in a list member.
func (s *Service) Item(structName, member string) string {
	if item, ok := s.Items[structName+"."+member]; ok {
		return item
	}
	return "member"
}
