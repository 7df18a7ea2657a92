package verify

import "holdfast.dev/internal/resp"

// Slots is the number of slots that keys are spread over, as in cluster mode.
const Slots = resp.Slots

// Slot is a key's slot, as clusters have it.
func Slot(key []byte) int { return resp.Slot(key) }
