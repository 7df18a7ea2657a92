package main

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// The file of the root key is looked at anew, and what cannot be read changes nothing.
func TestRootKeysFollowTheirFile(t *testing.T) {
	dir := dataDir(t.TempDir())
	keys, err := newRootKeys(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := keys.current()
	if _, ok := first.find(first.AccessKeyID); !ok {
		t.Error("the first key is not found")
	}
	emptied := first
	emptied.Previous = &rootKey{}
	if _, ok := emptied.find(""); ok {
		t.Error("a request without a key is root's")
	}
	if err := rotateRootKey(dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	second := keys.current()
	if second.AccessKeyID == first.AccessKeyID || second.Previous == nil || second.Previous.AccessKeyID != first.AccessKeyID {
		t.Error("the rotation is not seen")
	}
	if secret, ok := second.find(first.AccessKeyID); !ok || secret != first.SecretAccessKey {
		t.Error("the old key is not good any more")
	}
	for _, broken := range []string{"", "{", "{}", `{"AccessKeyID":"x"}`} {
		if err := os.WriteFile(dir.credentials(), []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := keys.current(); got.AccessKeyID != second.AccessKeyID {
			t.Errorf("with %q in the file the key is %s", broken, got.AccessKeyID)
		}
		if err := rotateRootKey(dir, io.Discard); err == nil {
			t.Errorf("a file with %q is rotated", broken)
		}
	}
	if err := os.Remove(dir.credentials()); err != nil {
		t.Fatal(err)
	}
	if got := keys.current(); got.AccessKeyID != second.AccessKeyID {
		t.Error("a lost file loses the key")
	}
	if err := rotateRootKey(dir, io.Discard); err == nil || !strings.Contains(err.Error(), "no service has been started") {
		t.Errorf("rotated without a key: %v", err)
	}
}

// What is sealed opens by its own label and key alone.
func TestSealer(t *testing.T) {
	dir := dataDir(t.TempDir())
	s, err := openSealer(dir)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal("one", "secret")
	if err != nil || strings.Contains(string(sealed), "secret") {
		t.Fatalf("%q %v", sealed, err)
	}
	again, err := openSealer(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open("one", sealed); err != nil || got != "secret" {
		t.Errorf("after a restart: %q %v", got, err)
	}
	if got, err := again.Open("two", sealed); err == nil {
		t.Errorf("under another label: %q", got)
	}
	sealed[len(sealed)-1] ^= 1
	if got, err := again.Open("one", sealed); err == nil {
		t.Errorf("changed: %q", got)
	}
	if fi, err := os.Stat(dir.sealKey()); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v %v", fi, err)
	}
	if err := os.WriteFile(dir.sealKey(), []byte(`{"Key":"c2hvcnQ="}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSealer(dir); err == nil {
		t.Error("a short key is taken")
	}
}
