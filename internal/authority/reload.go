package authority

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Reload takes over what another process has made of the files, as a rotation, and tells
// whether that was anything.
func (a *Authority) Reload() (changed bool, err error) {
	bundle, err := os.ReadFile(filepath.Join(a.dir, bundleFile))
	if err != nil {
		return false, fmt.Errorf("cannot read the certificate authority anew: %w", err)
	}
	if bytes.Equal(bundle, a.Bundle()) {
		return false, nil
	}
	certs, err := readCertificates(bundle)
	if err == nil && bytes.Equal(encode(certs), a.Bundle()) {
		return false, nil // with other text around it
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return false, fmt.Errorf("cannot read the certificate authority anew: %w", err)
	}
	return true, nil
}
