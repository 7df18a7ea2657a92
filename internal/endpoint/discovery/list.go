package discovery

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Node is one line of the list.
type Node struct {
	// Host is a name, or the address again where there are no names; IP may be
	// empty where it is not known.
	Host, IP string
	Port     int
}

// List is what auto discovery answers. The version is one more after each change of the nodes.
type List struct {
	Version int
	Nodes   []Node
}

// payload is the list in ElastiCache's form: the version and the nodes, in the order
// of their names, on a line each.
func (l List) payload() []byte {
	nodes := slices.Clone(l.Nodes)
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Host, b.Host) })
	var b bytes.Buffer
	b.WriteString(strconv.Itoa(l.Version))
	b.WriteByte('\n')
	for i, n := range nodes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(n.Host + "|" + n.IP + "|" + strconv.Itoa(n.Port))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// asText frames the payload for the text protocol; head is "CONFIG cluster" or
// "VALUE AmazonElastiCache:cluster".
func asText(head string, payload []byte) []byte {
	out := []byte(head + " 0 " + strconv.Itoa(len(payload)) + "\r\n")
	out = append(out, payload...)
	return append(out, "\r\nEND\r\n"...)
}
