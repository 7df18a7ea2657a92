package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"holdfast.dev/internal/cache"
)

// client speaks to the service of a data directory as its owner. That one listens
// there is not said.
func (d dataDir) client(region string) (*elasticache.Client, error) {
	info, err := d.serviceInfo()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no service runs on %s", d)
	}
	if err != nil {
		return nil, err
	}
	key, err := d.readRootKey()
	if err != nil {
		return nil, err
	}
	return elasticache.New(elasticache.Options{
		Region: region, BaseEndpoint: aws.String("http://" + info.Listen),
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, ""),
	}), nil
}

// askSnapshots asks the service for the snapshots of a region.
func (d dataDir) askSnapshots(ctx context.Context, region string) ([]storedSnapshot, error) {
	c, err := d.client(region)
	if err != nil {
		return nil, err
	}
	var out []storedSnapshot
	for pages := elasticache.NewDescribeSnapshotsPaginator(c, &elasticache.DescribeSnapshotsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("cannot ask the service: %w", err)
		}
		for _, s := range page.Snapshots {
			one := storedSnapshot{name: aws.ToString(s.SnapshotName), status: cache.Status(aws.ToString(s.SnapshotStatus))}
			for _, n := range s.NodeSnapshots {
				one.nodeGroups = append(one.nodeGroups, aws.ToString(n.NodeGroupId))
			}
			out = append(out, one)
		}
	}
	return out, nil
}
