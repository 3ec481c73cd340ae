package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/ingest/watchevent"
)

const (
	// maxBatch is the contract's limit on the events of one request.
	maxBatch = 1000
	// maxRejections is how many rejected events a stream's answer names.
	maxRejections = 1000
	// streamWindow is how many batches of one stream may wait for the broker at a time.
	streamWindow = 8
	// retryAfter is the advice given when the broker does not take events, retryFull when that is for lack of room: nobody
	// makes room within a second.
	retryAfter = time.Second
	retryFull  = 15 * time.Second
)

// EventPublisher is what the service needs of a Publisher.
type EventPublisher interface {
	Publish(ctx context.Context, events []*ingestv1.WatchEvent) ([]Outcome, error)
}

// Service answers IngestService. It checks every event by itself, so that a broken one does not cost its neighbours:
// mount it without request-wide validation.
type Service struct {
	ingestv1connect.UnimplementedIngestServiceHandler

	publisher EventPublisher
	now       func() time.Time
	log       *slog.Logger
	received  prometheus.Counter
	rejected  *prometheus.CounterVec
	skewed    prometheus.Counter
}

var _ ingestv1connect.IngestServiceHandler = (*Service)(nil)

// NewService makes the service. now is the server's clock.
func NewService(publisher EventPublisher, now func() time.Time, reg prometheus.Registerer, log *slog.Logger) (*Service, error) {
	s := &Service{
		publisher: publisher,
		now:       now,
		log:       log,
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marquee_ingest_received_events_total", Help: "Events received by RPC, valid or not.",
		}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "marquee_ingest_rejected_events_total", Help: "Events rejected at the RPC, by the first field that was wrong.",
		}, []string{"field"}),
		skewed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marquee_ingest_clock_skewed_events_total", Help: "Events accepted with a client clock that cannot be right.",
		}),
	}
	return s, register(reg, s.received, s.rejected, s.skewed)
}

// RecordEvents records a batch and answers each event by its index. When the broker did not acknowledge every valid
// event the whole call is UNAVAILABLE with retry advice: sending all of it again is right and counts nothing twice.
func (s *Service) RecordEvents(ctx context.Context, req *connect.Request[ingestv1.RecordEventsRequest]) (*connect.Response[ingestv1.RecordEventsResponse], error) {
	if err := checkBatch(len(req.Msg.Events)); err != nil {
		return nil, err
	}
	results, positions, err := s.record(ctx, req.Msg.Events, 0)
	if err != nil {
		return nil, err
	}
	resp := &ingestv1.RecordEventsResponse{Results: make([]*ingestv1.EventResult, len(results)), Positions: positions.list()}
	for i := range results {
		resp.Results[i] = &results[i]
	}
	return connect.NewResponse(resp), nil
}

// RecordEventStream records batches until the client closes the stream, several at a time. Batches may reach the log in
// another order than they were sent in: readers order by occurred_at.
func (s *Service) RecordEventStream(ctx context.Context, stream *connect.ClientStream[ingestv1.RecordEventStreamRequest]) (*connect.Response[ingestv1.RecordEventStreamResponse], error) {
	sum := streamSummary{positions: make(positions)}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(streamWindow)
	base := 0
	for groupCtx.Err() == nil && stream.Receive() {
		events, first := stream.Msg().Events, base
		base += len(events)
		if err := checkBatch(len(events)); err != nil {
			return nil, errors.Join(err, group.Wait())
		}
		group.Go(func() error {
			results, positions, err := s.record(groupCtx, events, first)
			if err != nil {
				return err
			}
			sum.add(results, positions)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := stream.Err(); err != nil {
		return nil, fmt.Errorf("receive events: %w", err)
	}
	return connect.NewResponse(sum.response()), nil
}

func checkBatch(n int) error {
	if n < 1 || n > maxBatch {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("events: 1 to %d events a message are right, it has %d", maxBatch, n))
	}
	return nil
}

// record checks, stamps and publishes events; base is the index of the first.
func (s *Service) record(ctx context.Context, events []*ingestv1.WatchEvent, base int) ([]ingestv1.EventResult, positions, error) {
	s.received.Add(float64(len(events)))
	results := make([]ingestv1.EventResult, len(events))
	accepted := make([]*ingestv1.WatchEvent, 0, len(events))
	receivedAt := s.now().UnixMicro()
	for i, e := range events {
		r := &results[i]
		r.Index, r.EventId = uint32(base+i), e.GetEventId()
		if r.Violations = s.check(e); r.Violations != nil {
			continue
		}
		r.Accepted = true
		watchevent.StampLive(e, receivedAt)
		if e.ClockSkew != 0 {
			s.skewed.Inc()
		}
		accepted = append(accepted, e)
	}
	outcomes, err := s.publisher.Publish(ctx, accepted)
	if err != nil && !errors.Is(err, ErrTooLarge) {
		s.log.WarnContext(ctx, "events not acknowledged by the broker", "events", len(accepted), "error", err)
		return nil, nil, unavailable(err)
	}
	places, err := merge(results, outcomes)
	return results, places, err
}

// check validates one event and counts it when it is wrong.
func (s *Service) check(e *ingestv1.WatchEvent) []*ingestv1.FieldViolation {
	violations := watchevent.Validate(e)
	if violations != nil {
		field := violations[0].Field
		if len(field) > 14 && field[:14] == "seen_title_ids" {
			field = "seen_title_ids"
		}
		s.rejected.WithLabelValues(field).Inc()
	}
	return violations
}

// merge spreads the outcomes of the accepted events over all results.
func merge(results []ingestv1.EventResult, outcomes []Outcome) (positions, error) {
	places := make(positions)
	next := 0
	for i := range results {
		r := &results[i]
		if !r.Accepted {
			continue
		}
		o := outcomes[next]
		next++
		switch {
		case o.Erased:
			r.Accepted, r.Erased = false, true
			r.Violations = []*ingestv1.FieldViolation{{Field: "profile_id", Message: "the profile is erased: nothing is recorded of it until it is restored"}}
		case o.Err == nil:
			places.raise(o.Partition, o.Offset)
		case errors.Is(o.Err, ErrTooLarge):
			r.Accepted = false
			r.Violations = []*ingestv1.FieldViolation{{Message: o.Err.Error()}}
		default:
			// Another event of the batch was too large, and this one was not acknowledged.
			return nil, unavailable(o.Err)
		}
	}
	return places, nil
}

// unavailable tells the client to send the batch again, and when.
func unavailable(cause error) error {
	err := connect.NewError(connect.CodeUnavailable, fmt.Errorf("events were not recorded, send them again with the same event_id: %w", cause))
	after := retryAfter
	if errors.Is(cause, ErrFull) {
		after = retryFull
	}
	if detail, derr := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); derr == nil {
		err.AddDetail(detail)
	}
	err.Meta().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
	return err
}

// positions is the highest offset written in each partition.
type positions map[int32]int64

func (p positions) raise(partition int32, offset int64) {
	if at, ok := p[partition]; !ok || offset > at {
		p[partition] = offset
	}
}

func (p positions) list() []*ingestv1.Position {
	list := make([]*ingestv1.Position, 0, len(p))
	for partition, offset := range p {
		list = append(list, &ingestv1.Position{Partition: partition, Offset: offset})
	}
	slices.SortFunc(list, func(a, b *ingestv1.Position) int { return cmp.Compare(a.Partition, b.Partition) })
	return list
}

// streamSummary gathers what became of a stream's batches.
type streamSummary struct {
	mu         sync.Mutex
	accepted   uint64
	rejected   uint64
	rejections []*ingestv1.EventResult
	positions  positions
}

func (s *streamSummary) add(results []ingestv1.EventResult, places positions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range results {
		if results[i].Accepted {
			s.accepted++
			continue
		}
		s.rejected++
		if len(s.rejections) < maxRejections {
			s.rejections = append(s.rejections, &results[i])
		}
	}
	for partition, offset := range places {
		s.positions.raise(partition, offset)
	}
}

func (s *streamSummary) response() *ingestv1.RecordEventStreamResponse {
	return &ingestv1.RecordEventStreamResponse{
		Accepted: s.accepted, Rejected: s.rejected, Rejections: s.rejections, Positions: s.positions.list(),
	}
}
