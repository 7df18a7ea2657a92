package main

import (
	"context"
	"errors"
	"time"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

const (
	// rotationLook is how often one looks whether there is another authority.
	rotationLook = 15 * time.Second
	// renewalLook is how often all certificates are looked at, whether or not there is.
	renewalLook = time.Hour
)

// renewCertificates gives nodes that run new certificates before theirs expire, and after
// a rotation of the authority, until the context ends. Nodes that are started have good ones.
func (in *installation) renewCertificates(ctx context.Context) error {
	tick := time.NewTicker(rotationLook)
	defer tick.Stop()
	due := true
	var last time.Time
	for {
		changed, err := in.authority.Reload()
		if err != nil {
			in.log.Error("the certificate authority cannot be read", "error", err)
		}
		if due = due || changed || time.Since(last) >= renewalLook; due {
			last = time.Now()
			if err = in.renewAll(ctx); err != nil && ctx.Err() == nil {
				in.log.Warn("certificates cannot be renewed yet", "error", err)
			}
			due = err != nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// renewAll has all nodes trust the present authority before the first one shows a
// certificate of it.
func (in *installation) renewAll(ctx context.Context) error {
	specs, err := in.encrypted(ctx)
	if err != nil {
		return err
	}
	for _, renew := range []func(context.Context, cache.NodeSpec) error{in.engines.Trusts, in.engines.Certify} {
		var errs []error
		for _, s := range specs {
			errs = append(errs, renew(ctx, s))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

// encrypted are the nodes that run and speak TLS, and are not about to do otherwise.
func (in *installation) encrypted(ctx context.Context) (out []cache.NodeSpec, err error) {
	err = in.db.View(ctx, func(tx *store.Tx) error {
		clusters, err := records.Clusters.List(tx, "")
		if err != nil {
			return err
		}
		for i := range clusters {
			c := &clusters[i]
			if c.GroupID == "" || c.Node.Process == nil || c.Node.Transit == "" {
				continue
			}
			g, ok, err := records.Groups.Get(tx, cache.Key(c.Region, c.GroupID))
			if err != nil {
				return err
			}
			spec := cache.NodeSpec{Key: c.NodeKey(), Build: c.Node.Build, Address: c.Node.Address, Secret: g.Secret, Transit: g.NodeTransit(&c.Node)}
			if ok && g.Deletion == nil && spec.Transit.Steady() {
				out = append(out, spec)
			}
		}
		return nil
	})
	return out, err
}
