// Package own answers what Holdfast's own commands ask of a running service and AWS
// has no action for. It speaks the Query protocol like the others; requests are signed
// for the service "holdfast" with the same access keys.
package own

import (
	"context"
	"encoding/json"
	"fmt"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/api/shapes"
	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/control"
)

// Name is the service in the credential scope, Version that of its API.
const (
	Name    = "holdfast"
	Version = "2026-11-21"
)

var table = &shapes.Service{
	Name: Name, Version: Version, Namespace: "https://holdfast.dev/doc/" + Version + "/",
	Actions: map[string]shapes.Action{
		"ImportSnapshot":         {Input: "ImportSnapshotInput", Output: "ImportSnapshotOutput", Result: true},
		"DescribeUpgradeReports": {Input: "DescribeUpgradeReportsInput", Output: "DescribeUpgradeReportsOutput", Result: true},
	},
	Required: map[string][]string{"ImportSnapshotInput": {"Document"}, "DescribeUpgradeReportsInput": {"CacheId"}},
}

// ImportSnapshotInput asks for a snapshot of staged files.
type ImportSnapshotInput struct {
	// Document is a control.NewImport as JSON.
	Document *string
}

// ImportSnapshotOutput says what came of it so far.
type ImportSnapshotOutput struct {
	SnapshotName, SnapshotStatus *string
}

// DescribeUpgradeReportsInput asks what became of a cache while it was upgraded or resized.
type DescribeUpgradeReportsInput struct {
	// CacheId is a replication group's or a cache cluster's.
	CacheId *string //nolint:revive // as AWS spells its parameters
}

// DescribeUpgradeReportsOutput tells it.
type DescribeUpgradeReportsOutput struct {
	// Document is a list of cache.UpgradeReport as JSON, the oldest first.
	Document *string
}

// New returns the service.
func New(ctl *control.Control) *query.Service {
	svc := query.NewService(table)
	query.Handle(svc, func(ctx context.Context, in *ImportSnapshotInput) (*ImportSnapshotOutput, error) {
		var asked control.NewImport
		if err := json.Unmarshal([]byte(*in.Document), &asked); err != nil {
			return nil, cache.Faultf("InvalidParameterValue", "The parameter Document cannot be read: %v", err)
		}
		s, err := ctl.ImportSnapshot(ctx, query.InfoFrom(ctx).Region, asked)
		if err != nil {
			return nil, err
		}
		return &ImportSnapshotOutput{SnapshotName: &s.Name, SnapshotStatus: (*string)(&s.Status)}, nil
	})
	query.Handle(svc, func(ctx context.Context, in *DescribeUpgradeReportsInput) (*DescribeUpgradeReportsOutput, error) {
		reports, err := ctl.UpgradeReports(ctx, query.InfoFrom(ctx).Region, *in.CacheId)
		if err != nil {
			return nil, err
		}
		document, err := json.Marshal(reports)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the reports: %w", err)
		}
		text := string(document)
		return &DescribeUpgradeReportsOutput{Document: &text}, nil
	})
	return svc
}
