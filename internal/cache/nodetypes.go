package cache

import (
	"slices"
	"strings"
	"sync"
)

// NodeType is the nominal size of a node. Holdfast runs it on whatever machine
// there is; what it takes over is how much data the node may hold.
type NodeType struct {
	Name string // "cache.m6g.large"
	VCPU int
	// GiB of memory as ElastiCache lists it; 0 where it lists none.
	GiB float64
	// MaxMemory is the engine's maxmemory in bytes, before anything is reserved.
	MaxMemory int64
	// MemcachedMB is Memcached's max_cache_memory in MiB; 0 where it lists none.
	MemcachedMB int
	// MinRedis is the oldest Redis version that the type serves; "" for any.
	MinRedis string
	// ValkeyOnly tells a type on which no Redis is offered.
	ValkeyOnly bool
	// DataTiering tells a type that keeps part of its data on a solid-state disk.
	DataTiering bool
	// Snapshots tells whether backups can be taken on it.
	Snapshots bool
}

// FindNodeType returns the node type of that name.
func FindNodeType(name string) (NodeType, bool) {
	t, ok := nodeTypes().byName[name]
	return t, ok
}

// NodeTypes are all node types by name.
func NodeTypes() []NodeType { return slices.Clone(nodeTypes().all) }

type nodeTypeTable struct {
	all    []NodeType
	byName map[string]NodeType
}

var nodeTypes = sync.OnceValue(func() nodeTypeTable {
	t := nodeTypeTable{byName: map[string]NodeType{}}
	for _, r := range nodeTypeRows {
		for class := range strings.FieldsSeq(r.classes) {
			n := NodeType{
				Name: "cache." + class + "." + r.size, VCPU: r.vcpu, GiB: r.gib,
				MaxMemory: r.maxMemory, MemcachedMB: r.memcachedMB,
				MinRedis: minRedisByClass[class], ValkeyOnly: valkeyOnlyClass[class],
				DataTiering: class == "r6gd", Snapshots: class != "t1",
			}
			if mb, ok := memcachedOdd[n.Name]; ok {
				n.MemcachedMB = mb
			}
			t.all = append(t.all, n)
			t.byName[n.Name] = n
		}
	}
	slices.SortFunc(t.all, func(a, b NodeType) int { return strings.Compare(a.Name, b.Name) })
	return t
})

var minRedisByClass = map[string]string{
	"m4": "3.2.4", "m5": "3.2.4", "r4": "3.2.4", "r5": "3.2.4", "t3": "3.2.4",
	"m6g": "5.0.6", "r6g": "5.0.6", "t4g": "5.0.6",
	"m7g": "6.2", "r7g": "6.2", "r6gd": "6.2",
}

var valkeyOnlyClass = map[string]bool{"m8g": true, "r8g": true, "c8gn": true}

// memcachedOdd are types whose Memcached figure differs from that of their row.
var memcachedOdd = map[string]int{"cache.t4g.medium": 3164}

// nodeTypeRow is one size of classes that share it.
type nodeTypeRow struct {
	classes, size string
	vcpu          int
	gib           float64
	maxMemory     int64
	memcachedMB   int
}

var nodeTypeRows = []nodeTypeRow{
	{"t3 t4g", "micro", 2, 0.5, 536870912, 512},
	{"t3 t4g", "small", 2, 1.37, 1471026299, 1402},
	{"t3 t4g", "medium", 2, 3.09, 3317862236, 3364},
	{"t2", "micro", 1, 0.555, 581959680, 555},
	{"t2", "small", 1, 1.55, 1665138688, 1588},
	{"t2", "medium", 2, 3.22, 3461349376, 3301},

	{"m4", "large", 2, 6.42, 6892593152, 6573},
	{"m4", "xlarge", 4, 14.28, 15328501760, 11496},
	{"m4", "2xlarge", 8, 29.70, 31889126359, 30412},
	{"m4", "4xlarge", 16, 60.78, 65257290629, 62234},
	{"m4", "10xlarge", 40, 154.64, 166047614239, 158355},

	{"m5 m6g m7g", "large", 2, 6.38, 6854542746, 6537},
	{"m5 m6g m7g", "xlarge", 4, 12.93, 13891921715, 13248},
	{"m5 m6g m7g", "2xlarge", 8, 26.04, 27966669210, 26671},
	{"m5 m6g m7g", "4xlarge", 16, 52.26, 56116178125, 53516},
	{"m6g m7g", "8xlarge", 32, 103.68, 111325552312, 107000},
	{"m5 m6g m7g", "12xlarge", 48, 157.12, 168715971994, 160900},
	{"m6g m7g", "16xlarge", 64, 209.55, 225000375228, 214577},
	{"m5", "24xlarge", 96, 314.32, 337500562842, 321865},

	{"m8g", "large", 2, 6.79, 7294178820, 6956},
	{"m8g", "xlarge", 4, 14.18, 15222495510, 14517},
	{"m8g", "2xlarge", 8, 29.68, 31866224640, 30390},
	{"m8g", "4xlarge", 16, 61.33, 65856864256, 62806},
	{"m8g", "8xlarge", 32, 124.65, 133838143488, 127638},
	{"m8g", "12xlarge", 48, 187.96, 201819422720, 192470},
	{"m8g", "16xlarge", 64, 251.27, 269800701952, 257302},

	{"r4", "large", 2, 12.30, 13201781556, 12590},
	{"r4", "xlarge", 4, 25.05, 26898228839, 25652},
	{"r4", "2xlarge", 8, 50.47, 54197537997, 51686},
	{"r4", "4xlarge", 16, 101.38, 108858546586, 103815},
	{"r4", "8xlarge", 32, 203.26, 218255432090, 208144},
	{"r4", "16xlarge", 64, 407.00, 437021573120, 416776},

	{"r5 r6g r7g", "large", 2, 13.07, 14037181030, 13387},
	{"r5 r6g r6gd r7g", "xlarge", 4, 26.32, 28261849702, 26953},
	{"r5 r6g r6gd r7g", "2xlarge", 8, 52.82, 56711183565, 54084},
	{"r5 r6g r6gd r7g", "4xlarge", 16, 105.81, 113609865216, 108347},
	{"r6g r6gd r7g", "8xlarge", 32, 209.55, 225000375228, 214577},
	{"r5 r6g r6gd r7g", "12xlarge", 48, 317.77, 341206346547, 325400},
	{"r6g r6gd r7g", "16xlarge", 64, 419.09, 450000750456, 429154},
	{"r5", "24xlarge", 96, 635.61, 682485973811, 650869},

	{"r8g", "large", 2, 14.18, 15222495510, 14517},
	{"r8g", "xlarge", 4, 29.68, 31866224640, 30390},
	{"r8g", "2xlarge", 8, 61.33, 65856864256, 62806},
	{"r8g", "4xlarge", 16, 124.65, 133838143488, 127638},
	{"r8g", "8xlarge", 32, 251.27, 269800701952, 257302},
	{"r8g", "12xlarge", 48, 377.9, 405763260416, 386966},
	{"r8g", "16xlarge", 64, 504.52, 541725818880, 516630},

	{"c7gn", "large", 2, 3.09, 3317862236, 3164},
	{"c7gn", "xlarge", 4, 6.38, 6854542746, 6537},
	{"c7gn", "2xlarge", 8, 12.94, 13891921715, 13248},
	{"c7gn", "4xlarge", 16, 26.05, 27966669210, 26671},
	{"c7gn", "8xlarge", 32, 52.26, 56116178125, 53516},
	{"c7gn", "12xlarge", 48, 78.56, 84357985997, 0}, // its Memcached figure is printed wrong
	{"c7gn", "16xlarge", 64, 105.81, 113609865216, 108347},
	{"c8gn", "large", 2, 3.1, 3330020474, 3176},
	{"c8gn", "xlarge", 4, 6.79, 7294178820, 6956},
	{"c8gn", "2xlarge", 8, 14.18, 15222495510, 14517},
	{"c8gn", "4xlarge", 16, 29.68, 31866224640, 30390},
	{"c8gn", "8xlarge", 32, 61.33, 65856864256, 62806},
	{"c8gn", "12xlarge", 48, 92.99, 99847503872, 95222},
	{"c8gn", "16xlarge", 64, 124.65, 133838143488, 127638},

	// Previous generations, which old templates still name.
	{"t1", "micro", 1, 0, 142606336, 213},
	{"m1", "small", 1, 0, 943718400, 1301},
	{"m1", "medium", 1, 0, 3093299200, 3350},
	{"m1", "large", 2, 0, 7025459200, 7100},
	{"m1", "xlarge", 4, 0, 14889779200, 14600},
	{"m2", "xlarge", 2, 0, 17091788800, 33800},
	{"m2", "2xlarge", 4, 0, 35022438400, 30412},
	{"m2", "4xlarge", 8, 0, 70883737600, 68000},
	{"m3", "medium", 1, 2.9, 2988441600, 2850},
	{"m3", "large", 2, 6.05, 6501171200, 6200},
	{"m3", "xlarge", 4, 13.3, 14260633600, 13600},
	{"m3", "2xlarge", 8, 27.9, 29989273600, 28600},
	{"c1", "xlarge", 8, 0, 6501171200, 6600},
	{"r3", "large", 2, 13.5, 14470348800, 13800},
	{"r3", "xlarge", 4, 30.5, 30513561600, 29100},
	{"r3", "2xlarge", 8, 0, 62495129600, 59600},
	{"r3", "4xlarge", 16, 0, 126458265600, 120600},
	{"r3", "8xlarge", 32, 0, 254384537600, 120600},
}
