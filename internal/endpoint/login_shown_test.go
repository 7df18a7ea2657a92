package endpoint_test

import (
	"strings"
	"testing"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/endpoint"
	"holdfast.dev/internal/engine/catalog"
	"holdfast.dev/internal/testkit"
)

// TestThePasswordIsNotShown: with a good token nobody makes an engine show what it knows the
// user by, which stays good when the token does not.
func TestThePasswordIsNotShown(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, b catalog.Build) {
		if cache.CompareVersions(b.Version, "7.0") < 0 {
			t.Skip("it has no users who log in with tokens")
		}
		d := newDoor(t, testkit.NewCA(t))
		s := secured(t, b, d)
		_, at := guarded(t, d, endpoint.Config{}, s)
		watcher, err := d.open(t, at, "app", "app", true)
		if err != nil {
			t.Fatal(err)
		}
		for _, cmd := range [][]string{{"ECHO", "here"}, {"MONITOR"}} {
			if _, err := watcher.Do(t.Context(), cmd...); err != nil {
				t.Fatal(err)
			}
		}
		for _, said := range []string{
			"HELLO 99 AUTH shop TOKEN\r\n",
			"HELLO x AUTH shop TOKEN\r\n",
			"HELLO 3 AUTH shop TOKEN FOO\r\n",
			"HELLO 3 FOO AUTH shop TOKEN\r\n",
			"AUTH shop TOKEN FOO\r\n",
			commandOf("HELLO", "3", "SETNAME", "bad name", "AUTH", "shop", "TOKEN"),
			commandOf("HELLO", "3", "AUTH", "shop", "TOKEN", "SETNAME", "bad name"),
			commandOf("HELLO", "2", "SETNAME", "good", "AUTH", "shop", "TOKEN"),
			"\"MULTI\"\r\nAUTH shop TOKEN\r\nHELLO 2 AUTH shop TOKEN\r\nEXEC\r\n",
		} {
			said = strings.ReplaceAll(said, "$5\r\nTOKEN", commandOf(goodToken)[len("*1\r\n"):len(commandOf(goodToken))-2])
			c := d.raw(t, at)
			if _, err := c.Write([]byte(commandOf("AUTH", "app", "app") + strings.ReplaceAll(said, "TOKEN", goodToken) + commandOf("HELLO", "2", "AUTH", "app", "app") + commandOf("ECHO", "the-end") + commandOf("QUIT"))); err != nil {
				t.Fatal(err)
			}
			release := watcher.Guard(t.Context())
			for seen := ""; !strings.Contains(seen, "the-end"); {
				r, err := watcher.Receive()
				if err != nil {
					t.Fatal(err)
				}
				if seen = string(r.Bytes); strings.Contains(seen, enginePassword) {
					t.Errorf("after %q somebody who watches sees %s", said, seen)
				}
			}
			release()
		}
	})
}
