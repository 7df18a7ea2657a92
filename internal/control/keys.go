package control

import "holdfast.dev/internal/cache"

// checkKey refuses a KmsKeyId that names no key. There need not be one yet: a key of
// the region's keyring is made when something is first sealed with it.
func checkKey(region, id string) error {
	if _, ok := cache.KeyName(region, id); id != "" && !ok {
		return cache.Faultf(codeInvalidKey, "The KMS key supplied is not valid. It must be the ARN of a key or an alias of %s, "+
			"a key id, or alias/name. Provided value: %s", region, id)
	}
	return nil
}
