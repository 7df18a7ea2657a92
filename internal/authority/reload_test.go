package authority

import (
	"bytes"
	"testing"
	"time"
)

// What another process makes of the authority is taken over, once, and signs from then on.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := a.Reload(); changed || err != nil {
		t.Errorf("nothing has happened: %v, %v", changed, err)
	}
	other, err := Open(dir, time.Now)
	if err == nil {
		err = other.Rotate()
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if changed, err := a.Reload(); changed != want || err != nil {
			t.Errorf("look %d after a rotation: %v, %v", i, changed, err)
		}
	}
	if !bytes.Equal(a.Bundle(), other.Bundle()) {
		t.Error("the two have different certificates")
	}
	c, err := a.Issue([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Leaf.CheckSignatureFrom(other.cert); err != nil {
		t.Errorf("the former authority signs still: %v", err)
	}
}
