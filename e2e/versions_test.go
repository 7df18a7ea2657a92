package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"holdfast.dev/internal/testkit"
)

// TestEveryEngineServes: write at the primary endpoint, read at the reader
// endpoint, which is a replica and refuses writes.
func TestEveryEngineServes(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, line := range testkit.Lines {
		t.Run(line, func(t *testing.T) {
			testkit.Engine(t, line)
			engine, version, _ := strings.Cut(line, "-")
			g := s.createGroup(east, groupRequest("serves", engine, version, 2))
			client := redis(t, primary(g))
			ask(t, client, "SET", "key", "value of "+line)
			eventually(t, "the replica has the key", func(ctx context.Context) (bool, error) {
				got, err := try(ctx, reader(g), "GET", "key")
				return got == "value of "+line, err
			})
			_, err := try(t.Context(), reader(g), "SET", "key", "other")
			if err == nil || !strings.Contains(err.Error(), "READONLY") {
				t.Errorf("a write at the reader endpoint: %v", err)
			}
			withheld(t, primary(g))
			withheld(t, reader(g))
			s.deleteGroup(east, "serves", "")
		})
	}
}

// TestRestoreIntoNewerEngines goes from Redis 6.0 by way of 7.0 to Valkey 8.1
// and 9.1, each time through a snapshot.
func TestRestoreIntoNewerEngines(t *testing.T) {
	t.Parallel()
	lines := [][2]string{{"redis", "6.0"}, {"redis", "7.0"}, {"valkey", "8.1"}, {"valkey", "9.1"}}
	for _, l := range lines {
		testkit.Engine(t, l[0]+"-"+l[1])
	}
	s := startService(t)
	last := ""
	for i, l := range lines {
		id := "step-" + l[0] + "-" + strings.ReplaceAll(l[1], ".", "-")
		in := groupRequest(id, l[0], l[1], 2)
		if i > 0 {
			in.SnapshotName = aws.String("snap-" + last)
		}
		g := s.createGroup(east, in)
		if i == 0 {
			fill(t, primary(g), fewKeys)
		} else {
			before := primary(s.awaitGroup(east, "step-"+last, "available"))
			// Redis 6.0 tells only the remaining time to live.
			same(t, before, primary(g), fewKeys, 10*time.Millisecond)
			same(t, before, reader(g), fewKeys, 10*time.Millisecond)
			s.deleteGroup(east, "step-"+last, "")
		}
		last = strings.TrimPrefix(id, "step-")
		s.takeSnapshot(east, id, "snap-"+last)
		if man, err := manifest(s.dir + "/snapshots/" + east + "/snap-" + last); err != nil || man.Fingerprint == "" || man.Keys != fewKeys {
			t.Fatalf("the manifest says %+v: %v", man, err)
		}
	}
}
