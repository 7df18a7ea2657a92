package elasticache

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"holdfast.dev/internal/api/query"
	"holdfast.dev/internal/control"
)

func (h *handlers) describeEvents(ctx context.Context, in *elasticache.DescribeEventsInput) (*elasticache.DescribeEventsOutput, error) {
	out := &elasticache.DescribeEventsOutput{}
	filter := control.EventFilter{
		SourceType: string(in.SourceType),
		SourceID:   aws.ToString(in.SourceIdentifier),
		Start:      in.StartTime,
		End:        in.EndTime,
	}
	if in.Duration != nil {
		filter.Duration = aws.Duration(time.Duration(*in.Duration) * time.Minute)
	}
	events, err := h.ctl.DescribeEvents(ctx, region(ctx), filter,
		paged(func(e *control.Event) string { return e.Order }, in.Marker, in.MaxRecords, query.DescribeLimits, &out.Marker))
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		out.Events = append(out.Events, types.Event{
			Date:             aws.Time(e.At),
			Message:          aws.String(e.Message),
			SourceIdentifier: aws.String(e.SourceID),
			SourceType:       types.SourceType(e.SourceType),
		})
	}
	return out, nil
}
