package memcache

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
)

// The ways in which clients spread keys over servers.
const (
	// Ketama is spymemcached's, and so that of ElastiCache's own cluster clients: points of
	// "host:port-n".
	Ketama = "ketama"
	// KetamaWeighted is libmemcached's with weights, which names a server of the default port by its host alone.
	KetamaWeighted = "ketama-libmemcached"
	// Modula is a hash of the key (CRC-32, folded as the PHP and Python clients do)
	// modulo the number of servers, in the order in which they are named.
	Modula = "modula"
)

// Distributions are all of them.
var Distributions = []string{Ketama, KetamaWeighted, Modula}

const (
	defaultPort = 11211
	// pointsPerServer on the circle; one digest makes four.
	pointsPerServer = 160
)

// Ring tells which of several servers has a key.
type Ring struct {
	servers int
	points  []point // sorted; none for Modula
}

type point struct {
	at     uint32
	server int
}

// NewRing spreads keys over servers, which are "host:port".
func NewRing(distribution string, servers []string) (*Ring, error) {
	if len(servers) == 0 {
		return nil, fmt.Errorf("there is no server to spread keys over")
	}
	r := &Ring{servers: len(servers)}
	switch distribution {
	case Modula:
		return r, nil
	case Ketama, KetamaWeighted:
	default:
		return nil, fmt.Errorf("there is no distribution %q: choose one of %s", distribution, strings.Join(Distributions, ", "))
	}
	for i, name := range servers {
		if distribution == KetamaWeighted {
			name = strings.TrimSuffix(name, ":"+strconv.Itoa(defaultPort))
		}
		for n := range pointsPerServer / 4 {
			d := md5.Sum([]byte(name + "-" + strconv.Itoa(n)))
			for part := range 4 {
				r.points = append(r.points, point{binary.LittleEndian.Uint32(d[4*part:]), i})
			}
		}
	}
	slices.SortStableFunc(r.points, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	return r, nil
}

// Pick is the index of the server that has a key.
func (r *Ring) Pick(key []byte) int {
	if r.points == nil {
		return int((crc32.ChecksumIEEE(key)>>16)&0x7fff) % r.servers
	}
	d := md5.Sum(key)
	at := binary.LittleEndian.Uint32(d[:])
	i, _ := slices.BinarySearchFunc(r.points, at, func(p point, at uint32) int { return cmp.Compare(p.at, at) })
	if i == len(r.points) {
		i = 0
	}
	return r.points[i].server
}
