package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// bases are the address ranges 127.x that this run has given to services. One
// draws its own by chance, and of dozens that come and go side by side two would
// draw the same before long.
var bases struct {
	sync.Mutex
	next int
}

func init() { bases.next = rand.IntN(lastBase - firstBase + 1) }

const firstBase, lastBase = 60, 249

// giveAddresses writes a range of its own into a service's records before its first start.
func giveAddresses(t *testing.T, dir string) {
	t.Helper()
	bases.Lock()
	taken := listening(t)
	for taken[firstBase+bases.next%(lastBase-firstBase+1)] {
		bases.next++
	}
	base := fmt.Sprintf("127.%d", firstBase+bases.next%(lastBase-firstBase+1))
	bases.next++
	bases.Unlock()
	ctx := context.Background()
	db, err := store.Open(ctx, filepath.Join(dir, "holdfast.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(ctx, func(tx *store.Tx) error {
		return records.Pools.Put(tx, records.PoolKey, records.Pool{Base: base})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listening tells in which ranges 127.x something listens.
func listening(t *testing.T) map[int]bool {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	taken := map[int]bool{}
	for line := range strings.SplitSeq(string(b), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != "0A" { // listening
			continue
		}
		ip, err := hex.DecodeString(fields[1][:8]) // in the machine's order: the first number last
		if err == nil && ip[3] == 127 {
			taken[int(ip[2])] = true
		}
	}
	return taken
}
