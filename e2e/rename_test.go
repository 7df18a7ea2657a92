package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
)

// TestBlockedCommands: a command that the parameter group blocks is kept from clients on
// all nodes of a group at once, on those that are started later and on who takes over
// too, and given back when it is reset. Data are not touched, connections stay.
func TestBlockedCommands(t *testing.T) {
	for _, e := range []struct{ engine, version, family string }{{"redis", "6.0", "redis6.x"}, {"valkey", "9.1", "valkey9"}} {
		t.Run(e.engine+"-"+e.version, func(t *testing.T) {
			t.Parallel()
			s := startService(t)
			s.parameterGroup("ours", e.family)
			in := groupRequest("pair", e.engine, e.version, 2)
			in.CacheParameterGroupName = aws.String("ours")
			g := s.createGroup(east, in)
			fill(t, primary(g), fewKeys)
			refused := func(want bool, commands ...string) {
				t.Helper()
				for _, id := range []string{"pair-001", "pair-002"} {
					k := s.awaitParameters(id, "available", "in-sync")
					for _, c := range commands {
						_, err := try(t.Context(), addr(k.CacheNodes[0].Endpoint), strings.Fields(c)...)
						if is := err != nil && strings.Contains(err.Error(), "NOPERM"); is != want {
							t.Errorf("%s: %s: %v", id, c, err)
						}
					}
				}
			}
			refused(false, "KEYS none:*", "RANDOMKEY")

			s.set("ours", "rename-commands", "KEYS blocked flushall Blocked")
			refused(true, "KEYS none:*", "FLUSHALL", "flushall async")
			refused(false, "RANDOMKEY")
			for _, id := range []string{"pair-001", "pair-002"} {
				s.wantMessage(east, id+": Updated parameter rename-commands to KEYS blocked flushall Blocked")
			}
			for _, v := range []string{"get fetch", "keys blocked auth blocked"} {
				if err := s.trySet("ours", "rename-commands", v); code(err) != "InvalidParameterValue" || !strings.Contains(err.Error(), "rename-commands") {
					t.Errorf("%s: %v", v, err)
				}
			}
			s.killEngine(east, "pair-001")
			s.awaitPrimary("pair", "pair-002")
			s.wantMessage(east, "pair-001: Finished recovery")
			refused(true, "KEYS none:*", "FLUSHALL")
			wantData(t, primary(s.awaitGroup(east, "pair", "available")), fewKeys)

			s.set("ours", "rename-commands", "randomkey blocked")
			s.kill()
			s.start()
			refused(true, "RANDOMKEY")
			refused(false, "KEYS none:*")
			_, err := s.elasticache(east).ResetCacheParameterGroup(t.Context(), &elasticache.ResetCacheParameterGroupInput{
				CacheParameterGroupName: aws.String("ours"), ResetAllParameters: aws.Bool(true),
			})
			if err != nil {
				t.Fatal(err)
			}
			refused(false, "KEYS none:*", "RANDOMKEY")
		})
	}
}
