package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"holdfast.dev/internal/api/own"
)

// answerLimit bounds what the service answers.
const answerLimit = 16 << 20

// askOwn asks the running service for something that only Holdfast's own commands ask
// for, and that changes nothing. A refusal is a cache.Fault.
func (d dataDir) askOwn(ctx context.Context, region string, parameters map[string]string) ([]byte, error) {
	info, err := d.serviceInfo()
	if err != nil {
		return nil, err
	}
	key, err := d.readRootKey()
	if err != nil {
		return nil, err
	}
	values := neturl.Values{"Version": {own.Version}}
	for name, v := range parameters {
		values.Set(name, v)
	}
	form := values.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+info.Listen+"/", strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(form))
	creds := aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), own.Name, region, time.Now()); err != nil {
		return nil, fmt.Errorf("cannot sign the request to the service: %w", err)
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the service: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(reply.Body, answerLimit))
	if err := errors.Join(err, reply.Body.Close()); err != nil {
		return nil, fmt.Errorf("cannot read the service's answer: %w", err)
	}
	if reply.StatusCode != http.StatusOK {
		return nil, readFault(reply.Status, body)
	}
	return body, nil
}
