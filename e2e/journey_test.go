package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const east, west = "us-east-1", "eu-west-1"

// journey is the main job, and the deletion of all that it made.
type journey struct {
	*service
	keys int64
	// moved is the group in the other region.
	from, moved string
}

func (j *journey) run() {
	j.t.Helper()
	g := j.createGroup(east, groupRequest("orders", "valkey", "8.1", 2))
	j.from = primary(g)
	fill(j.t, j.from, j.keys)
	j.takeSnapshot(east, "orders", "backup")
	j.copySnapshot(east, "backup", "second")
	j.export()
	j.copyObject()
	in := groupRequest("orders", "valkey", "8.1", 2)
	in.SnapshotArns = []string{"arn:aws:s3:::orders-west/export-0001.rdb"}
	j.moved = primary(j.createGroup(west, in))
	same(j.t, j.from, j.moved, j.keys, 0)
	wantData(j.t, j.moved, j.keys)
}

// deleteAll takes away what run made. The group in the east leaves a final snapshot.
func (j *journey) deleteAll() {
	j.t.Helper()
	j.deleteGroup(west, "orders", "")
	j.deleteGroup(east, "orders", "farewell")
	j.awaitSnapshot(east, "farewell", "available")
	if man, err := manifest(filepath.Join(j.dir, "snapshots", east, "farewell")); err != nil || man.Fingerprint != reference(j.t, j.keys) {
		j.t.Fatalf("the final snapshot holds %s: %v", man.Fingerprint, err)
	}
	for _, name := range []string{"backup", "second", "farewell"} {
		j.deleteSnapshot(east, name)
	}
}

// takeSnapshot backs a group up and waits until that is done.
func (s *service) takeSnapshot(region, group, name string) {
	s.t.Helper()
	_, err := s.elasticache(region).CreateSnapshot(s.t.Context(), &elasticache.CreateSnapshotInput{ReplicationGroupId: &group, SnapshotName: &name})
	s.accepted(err, "SnapshotAlreadyExistsFault", "InvalidReplicationGroupState")
	s.awaitSnapshot(region, name, "available")
	s.awaitGroup(region, group, "available")
}

func (s *service) copySnapshot(region, from, to string) {
	s.t.Helper()
	_, err := s.elasticache(region).CopySnapshot(s.t.Context(), &elasticache.CopySnapshotInput{SourceSnapshotName: &from, TargetSnapshotName: &to})
	s.accepted(err, "SnapshotAlreadyExistsFault")
	s.awaitSnapshot(region, to, "available")
}

func (s *service) createBucket(region, name string) {
	s.t.Helper()
	in := &s3.CreateBucketInput{Bucket: &name}
	if region != east {
		in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(region)}
	}
	_, err := s.s3(region).CreateBucket(s.t.Context(), in)
	s.accepted(err, "BucketAlreadyOwnedByYou")
}

// exportSnapshot writes a snapshot into a bucket and waits until it is there.
func (s *service) exportSnapshot(region, snapshot, bucket, name string) {
	s.t.Helper()
	_, err := s.elasticache(region).CopySnapshot(s.t.Context(), &elasticache.CopySnapshotInput{
		SourceSnapshotName: &snapshot, TargetSnapshotName: &name, TargetBucket: &bucket,
	})
	// Repeated, it finds the snapshot being copied or the file already there.
	s.accepted(err, "InvalidSnapshotState", "InvalidParameterValue")
	s.awaitSnapshot(region, snapshot, "available")
}

// export writes the backup into a bucket, and looks that it is there once and right.
func (j *journey) export() {
	j.t.Helper()
	j.createBucket(east, "orders-east")
	j.exportSnapshot(east, "backup", "orders-east", "export")
	man, err := manifest(filepath.Join(j.dir, "snapshots", east, "backup"))
	if err != nil {
		j.t.Fatal(err)
	}
	keys := j.objects(east, "orders-east")
	if len(keys) != 1 || keys[0] != "export-0001.rdb" {
		j.t.Fatalf("the bucket has %v", keys)
	}
	if sum := j.sum(east, "orders-east", keys[0]); sum != man.SHA256 {
		j.t.Fatalf("the exported file has the sum %s and should have %s", sum, man.SHA256)
	}
}

func (j *journey) copyObject() {
	j.t.Helper()
	j.createBucket(west, "orders-west")
	_, err := j.s3(west).CopyObject(j.t.Context(), &s3.CopyObjectInput{
		Bucket: aws.String("orders-west"), Key: aws.String("export-0001.rdb"), CopySource: aws.String("orders-east/export-0001.rdb"),
	})
	j.accepted(err)
}

// objects lists the keys of a bucket, page by page.
func (s *service) objects(region, bucket string) []string {
	s.t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.s3(region), &s3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}
	return keys
}

// sum is the SHA-256 of an object.
func (s *service) sum(region, bucket, key string) string {
	s.t.Helper()
	h := sha256.New()
	eventually(s.t, "object "+key+" is read", func(ctx context.Context) (bool, error) {
		out, err := s.s3(region).GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			s.t.Fatal(err)
		}
		defer out.Body.Close()
		h.Reset()
		if _, err := io.Copy(h, out.Body); err != nil && !s.revive {
			s.t.Fatal(err)
		} else if err != nil {
			return false, err // cut off by the end of the service
		}
		return true, nil
	})
	return hex.EncodeToString(h.Sum(nil))
}

// TestACacheMovesToAnotherRegion is the main job through the SDK.
func TestACacheMovesToAnotherRegion(t *testing.T) {
	t.Parallel()
	j := journey{service: startService(t), keys: 20_000}
	end := j.observe(east)
	j.run()
	j.restoreByName()
	j.paginate()
	j.waiters()
	end()
	j.deleteAll()
	j.nothingLeft()
}

// restoreByName makes a group from a snapshot of its own region.
func (j *journey) restoreByName() {
	j.t.Helper()
	in := groupRequest("restored", "valkey", "8.1", 2)
	in.SnapshotName = aws.String("second")
	g := j.createGroup(east, in)
	same(j.t, j.from, primary(g), j.keys, 0)
	same(j.t, j.from, reader(g), j.keys, 0)
	if role := ask(j.t, redis(j.t, reader(g)), "INFO", "replication"); !strings.Contains(role, "role:slave") {
		j.t.Fatalf("the reader endpoint is not a replica:\n%s", role)
	}
	j.awaitSnapshot(east, "second", "available")
}

// paginate reads every list in pages of the smallest size.
func (j *journey) paginate() {
	j.t.Helper()
	api := j.elasticache(east)
	groups, clusters, snapshots := 0, 0, 0
	gp := elasticache.NewDescribeReplicationGroupsPaginator(api, &elasticache.DescribeReplicationGroupsInput{MaxRecords: aws.Int32(20)})
	for gp.HasMorePages() {
		page, err := gp.NextPage(j.t.Context())
		if err != nil {
			j.t.Fatal(err)
		}
		groups += len(page.ReplicationGroups)
	}
	cp := elasticache.NewDescribeCacheClustersPaginator(api, &elasticache.DescribeCacheClustersInput{MaxRecords: aws.Int32(20)})
	for cp.HasMorePages() {
		page, err := cp.NextPage(j.t.Context())
		if err != nil {
			j.t.Fatal(err)
		}
		clusters += len(page.CacheClusters)
	}
	sp := elasticache.NewDescribeSnapshotsPaginator(api, &elasticache.DescribeSnapshotsInput{MaxRecords: aws.Int32(20)})
	for sp.HasMorePages() {
		page, err := sp.NextPage(j.t.Context())
		if err != nil {
			j.t.Fatal(err)
		}
		snapshots += len(page.Snapshots)
	}
	if groups != 2 || clusters != 4 || snapshots != 2 {
		j.t.Fatalf("%d groups, %d clusters, %d snapshots; 2, 4 and 2 are wanted", groups, clusters, snapshots)
	}
	if len(j.messages(east)) == 0 || len(j.messages(west)) == 0 {
		j.t.Fatal("there are no events")
	}
}

// waiters uses those of the SDK, on a group and on a cluster that stands alone.
func (j *journey) waiters() {
	j.t.Helper()
	ctx, api := j.t.Context(), j.elasticache(east)
	in := groupRequest("waited", "valkey", "8.1", 1)
	in.SnapshotName = aws.String("backup")
	if _, err := api.CreateReplicationGroup(ctx, in); err != nil {
		j.t.Fatal(err)
	}
	group := &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("waited")}
	out, err := elasticache.NewReplicationGroupAvailableWaiter(api, func(o *elasticache.ReplicationGroupAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	}).WaitForOutput(ctx, group, patience)
	if err != nil {
		j.t.Fatal(err)
	}
	wantData(j.t, primary(out.ReplicationGroups[0]), j.keys)
	_, err = api.CreateCacheCluster(ctx, &elasticache.CreateCacheClusterInput{
		CacheClusterId: aws.String("alone"), Engine: aws.String("valkey"), CacheNodeType: aws.String("cache.t4g.micro"),
		NumCacheNodes: aws.Int32(1), SnapshotName: aws.String("backup"),
	})
	if err != nil {
		j.t.Fatal(err)
	}
	cluster := &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("alone"), ShowCacheNodeInfo: aws.Bool(true)}
	alone, err := elasticache.NewCacheClusterAvailableWaiter(api, func(o *elasticache.CacheClusterAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	}).WaitForOutput(ctx, cluster, patience)
	if err != nil {
		j.t.Fatal(err)
	}
	wantData(j.t, addr(alone.CacheClusters[0].CacheNodes[0].Endpoint), j.keys)
	if _, err := api.DeleteCacheCluster(ctx, &elasticache.DeleteCacheClusterInput{CacheClusterId: aws.String("alone")}); err != nil {
		j.t.Fatal(err)
	}
	err = elasticache.NewCacheClusterDeletedWaiter(api, func(o *elasticache.CacheClusterDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	}).Wait(ctx, cluster, patience)
	if err != nil {
		j.t.Fatal(err)
	}
	if _, err := api.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("waited")}); err != nil {
		j.t.Fatal(err)
	}
	err = elasticache.NewReplicationGroupDeletedWaiter(api, func(o *elasticache.ReplicationGroupDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	}).Wait(ctx, group, patience)
	if err != nil {
		j.t.Fatal(err)
	}
	j.deleteGroup(east, "restored", "")
}
