package main

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// replicaTLS is the certificate that we show a server which fetches its data from us by TLS.
type replicaTLS struct{ cert, key string }

func (r *replicaTLS) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.cert, "replica-tls-cert", "", "with --into replica, `FILE` (PEM) with the certificate that we show a server which fetches its data by TLS; its tls-ca-cert-file must trust it (default: cert of its address, if that may serve)")
	f.StringVar(&r.key, "replica-tls-key", "", "`FILE` (PEM) with the private key of --replica-tls-cert")
}

func (r *replicaTLS) given() bool { return r.cert != "" || r.key != "" }

// load reads it; nil where none was given.
func (r *replicaTLS) load() (*tls.Certificate, error) {
	switch {
	case !r.given():
		return nil, nil
	case r.cert == "" || r.key == "":
		return nil, usageError{errors.New("--replica-tls-cert and --replica-tls-key go together")}
	}
	pair, err := tls.LoadX509KeyPair(r.cert, r.key)
	if err != nil {
		return nil, fmt.Errorf("cannot load the certificate for replicas: %w", err)
	}
	return &pair, nil
}
