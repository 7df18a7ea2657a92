package elasticache

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/cache"
)

// optional is nil for the zero value: a member that has nothing to show.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func integer(n int) *int32 { return aws.Int32(int32(n)) }

// number reads an optional number.
func number(n *int32) *int {
	if n == nil {
		return nil
	}
	return aws.Int(int(*n))
}

func readTags(tags []types.Tag) []cache.Tag {
	var out []cache.Tag
	for _, t := range tags {
		out = append(out, cache.Tag{Key: aws.ToString(t.Key), Value: aws.ToString(t.Value)})
	}
	return out
}

func showTags(tags []cache.Tag) []types.Tag {
	out := make([]types.Tag, 0, len(tags))
	for _, t := range tags {
		out = append(out, types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
	}
	return out
}

func showEndpoint(a cache.Address) *types.Endpoint {
	if a.IsZero() {
		return nil
	}
	return &types.Endpoint{Address: aws.String(a.Host), Port: integer(a.Port)}
}

func onOff[T ~string](on bool) T {
	if on {
		return "enabled"
	}
	return "disabled"
}

// hasToken tells whether clients log in with an AUTH token.
func hasToken(a *cache.Access) bool { return a != nil && !a.TokenModifiedAt.IsZero() }

func tokenDate(a *cache.Access) *time.Time {
	if !hasToken(a) {
		return nil
	}
	return aws.Time(a.TokenModifiedAt)
}

// shownVersion is a version in three parts, as ElastiCache shows those of caches:
// that of the build if it is of the version asked for, else the latter filled up.
func shownVersion(asked, build string) string {
	_, full, _ := strings.Cut(build, "-")
	if strings.HasPrefix(full+".", asked+".") {
		asked = full
	}
	return asked + strings.Repeat(".0", max(0, 2-strings.Count(asked, ".")))
}
