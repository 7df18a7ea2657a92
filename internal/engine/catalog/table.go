package catalog

// offer is a version that ElastiCache names.
type offer struct {
	engine, version string
	family          string // parameter group family
	// from is the oldest build that can serve it, "" for the version itself.
	from string
	// lacks names what ElastiCache's own build has on top and no open build has.
	lacks []string
	// refused says why no open build can serve it; "" for all others.
	refused string
}

const (
	lacksJSON   = "JSON"
	lacksBloom  = "Bloom filters"
	lacksSearch = "vector search"
)

// offers are the versions that ElastiCache names and still creates, oldest first
// within an engine.
var offers = []offer{
	{engine: Redis, version: "4.0.10", family: "redis4.0"},
	{engine: Redis, version: "5.0.6", family: "redis5.0"},
	{engine: Redis, version: "6.0", family: "redis6.x"},
	{engine: Redis, version: "6.2", family: "redis6.x", lacks: []string{lacksJSON}},
	{engine: Redis, version: "7.0", family: "redis7", lacks: []string{lacksJSON}},
	{engine: Redis, version: "7.1", family: "redis7", from: "7.0", lacks: []string{lacksJSON}},
	{engine: Valkey, version: "7.2", family: "valkey7", lacks: []string{lacksJSON}},
	{engine: Valkey, version: "8.0", family: "valkey8", lacks: []string{lacksJSON}},
	{engine: Valkey, version: "8.1", family: "valkey8", lacks: []string{lacksJSON, lacksBloom}},
	{engine: Valkey, version: "8.2", family: "valkey8", refused: "it is 8.1 with vector search, which no installed engine can do; ask for 8.1"},
	{engine: Valkey, version: "9.0", family: "valkey9", lacks: []string{lacksJSON, lacksBloom, lacksSearch}},
	{engine: Valkey, version: "9.1", family: "valkey9", lacks: []string{lacksJSON, lacksBloom, lacksSearch}},
	{engine: Memcached, version: "1.4.5", family: "memcached1.4"},
	{engine: Memcached, version: "1.4.14", family: "memcached1.4"},
	{engine: Memcached, version: "1.4.24", family: "memcached1.4"},
	{engine: Memcached, version: "1.4.33", family: "memcached1.4"},
	{engine: Memcached, version: "1.4.34", family: "memcached1.4"},
	{engine: Memcached, version: "1.5.10", family: "memcached1.5"},
	{engine: Memcached, version: "1.5.16", family: "memcached1.5"},
	{engine: Memcached, version: "1.6.6", family: "memcached1.6"},
	{engine: Memcached, version: "1.6.12", family: "memcached1.6"},
	{engine: Memcached, version: "1.6.17", family: "memcached1.6"},
	{engine: Memcached, version: "1.6.22", family: "memcached1.6"},
}

// lines are the engine lines that scripts/engines installs, oldest first within
// an engine: what an error tells to install. A test holds them against the script.
var lines = []string{
	"redis-6.0", "redis-7.0", "redis-8.0",
	"valkey-8.0", "valkey-8.1", "valkey-9.1",
	"memcached-1.6.18", "memcached-1.6.38", "memcached-1.6.45",
}
