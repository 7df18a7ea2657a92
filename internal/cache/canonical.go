package cache

import "strings"

// CanonicalUser is the canonical id by which ElastiCache is granted access to the
// buckets of a region, as its user guide names it.
func CanonicalUser(region string) string {
	if strings.HasPrefix(region, "us-gov-") {
		return "40fa568277ad703bd160f66ae4f83fc9dfdfd06c2f1b5060ca22442ac3ef8be6"
	}
	return "540804c33a284a299d2547575ce1010f2312ef3da9b3a053c8bc45bf233e4353"
}
