package control

import (
	"slices"

	"holdfast.dev/internal/cache"
)

// Zones are the availability zones of a region.
func Zones(region string) []string {
	letters := "abc"
	if region == "us-east-1" {
		letters = "abcdef"
	}
	zones := make([]string, 0, len(letters))
	for _, l := range letters {
		zones = append(zones, region+string(l))
	}
	return zones
}

// checkZones tells whether every zone belongs to the region.
func checkZones(region string, zones []string) error {
	for _, z := range zones {
		if !slices.Contains(Zones(region), z) {
			return invalid("%s is not a valid availability zone of %s.", z, region)
		}
	}
	return nil
}

// place gives each of n members a zone: in the order asked for, else in turn over
// the zones of the subnet group, else over those of the region.
func place(region string, n int, asked []string, subnets *cache.SubnetGroup) []string {
	from := asked
	if len(from) == 0 && subnets != nil {
		for _, s := range subnets.Subnets {
			if !slices.Contains(from, s.Zone) {
				from = append(from, s.Zone)
			}
		}
	}
	if len(from) == 0 {
		from = Zones(region)
	}
	out := make([]string, n)
	for i := range out {
		out[i] = from[i%len(from)]
	}
	return out
}
