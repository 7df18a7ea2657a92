package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"holdfast.dev/internal/api/own"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
	"holdfast.dev/internal/store"
)

// register has staged files become a snapshot: by the service if one runs, else by
// the next one. The records tell which, since a service holds them as long as it runs.
//
// It is asked again as long as there is no answer, which does no harm. An error is an
// unsureError where the files may have been registered all the same.
func (d dataDir) register(ctx context.Context, region string, in *control.NewImport) (running bool, err error) {
	const tries = 20 // a service that is just starting or ending holds them and does not answer
	unsure := false
	for try := 1; ; try++ {
		running, err = d.registerOnce(ctx, region, in)
		var lost unsureError
		var unreachable *neturl.Error
		unsure = unsure || errors.As(err, &lost)
		if err == nil || !errors.As(err, &lost) && !errors.As(err, &unreachable) || try == tries {
			break
		}
		select {
		case <-ctx.Done():
			err = errors.Join(context.Cause(ctx), err)
		case <-time.After(time.Second):
			continue
		}
		break
	}
	if err != nil && unsure {
		err = unsureError{err}
	}
	return running, err
}

// unsureError: a request was made and what came of it is not known.
type unsureError struct{ error }

func (e unsureError) Unwrap() error { return e.error }

func (d dataDir) registerOnce(ctx context.Context, region string, in *control.NewImport) (running bool, err error) {
	db, err := store.Open(ctx, d.database())
	if errors.Is(err, store.ErrLocked) {
		return true, d.askImport(ctx, region, in)
	}
	if err != nil {
		return false, err
	}
	ctl := &control.Control{Config: control.Config{DB: db, Now: time.Now}}
	_, err = ctl.ImportSnapshot(ctx, region, *in)
	var refused *cache.Fault
	switch closed := db.Close(); {
	case errors.As(err, &refused):
		return false, errors.Join(err, closed)
	case err != nil || closed != nil:
		return false, unsureError{errors.Join(err, closed)}
	}
	return false, nil
}

// askImport asks the running service.
func (d dataDir) askImport(ctx context.Context, region string, in *control.NewImport) error {
	info, err := d.serviceInfo()
	if err != nil {
		return err
	}
	key, err := d.readRootKey()
	if err != nil {
		return err
	}
	document, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("cannot encode the import: %w", err)
	}
	form := neturl.Values{"Action": {"ImportSnapshot"}, "Version": {own.Version}, "Document": {string(document)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+info.Listen+"/", strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(form))
	creds := aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), own.Name, region, time.Now()); err != nil {
		return fmt.Errorf("cannot sign the request to the service: %w", err)
	}
	reply, err := http.DefaultClient.Do(req)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err // it has not been asked
	}
	if err != nil {
		return unsureError{err}
	}
	body, err := io.ReadAll(io.LimitReader(reply.Body, 1<<20))
	if err := errors.Join(err, reply.Body.Close()); err != nil {
		return unsureError{fmt.Errorf("cannot read the service's answer: %w", err)}
	}
	if reply.StatusCode == http.StatusOK {
		return nil
	}
	err = readFault(reply.Status, body)
	if reply.StatusCode >= http.StatusInternalServerError {
		err = unsureError{err}
	}
	return err
}

// readFault is the error that the service has answered.
func readFault(status string, body []byte) error {
	var doc struct {
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	if err := xml.Unmarshal(body, &doc); err != nil || doc.Code == "" {
		return fmt.Errorf("the service has answered %s", status)
	}
	return cache.Faultf(doc.Code, "%s", doc.Message)
}
