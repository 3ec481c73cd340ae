package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	servingv1 "marquee/serving/v1"
)

// Session is one viewer in front of a service. It is safe for concurrent use, and holds nothing that must be let go of.
type Session struct {
	client *Client
	viewer *servingv1.Viewer
	id     string

	mu sync.Mutex
	// written is the last offset in each partition that the session wrote.
	written map[int32]int64
}

// Session begins one for a viewer.
func (c *Client) Session(viewer *servingv1.Viewer) *Session {
	return &Session{client: c, viewer: proto.CloneOf(viewer), id: uuid.NewString(), written: map[int32]int64{}}
}

// schemaVersion is that of the events this package makes.
const schemaVersion = 1

// RejectedError names the events that were not accepted, by their index among those recorded. All others were.
type RejectedError struct {
	Results []*ingestv1.EventResult
}

func (e *RejectedError) Error() string {
	var out []string
	for _, r := range e.Results {
		why := "not accepted"
		if r.GetErased() {
			why = "its profile is erased"
		}
		for _, v := range r.GetViolations() {
			why = v.GetField() + ": " + v.GetMessage()
		}
		out = append(out, fmt.Sprintf("event %d: %s", r.GetIndex(), why))
	}
	return strings.Join(out, "; ")
}

// Record records what the viewer did. What an event leaves open is filled in, and stays so, that it can be recorded again after a failure:
// event_id, schema_version, profile_id, session_id, country and occurred_at, which is now. Events of another profile are refused. It
// fails with a *RejectedError when some of the events cannot be right.
func (s *Session) Record(ctx context.Context, events ...*ingestv1.WatchEvent) error {
	if len(events) == 0 {
		return nil
	}
	for i, e := range events {
		if err := s.fill(e); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	resp, err := s.client.Events.RecordEvents(ctx, connect.NewRequest(&ingestv1.RecordEventsRequest{Events: events}))
	if err != nil {
		return fmt.Errorf("record %d events: %w", len(events), err)
	}
	s.mu.Lock()
	for _, p := range resp.Msg.GetPositions() {
		last, there := s.written[p.GetPartition()]
		if !there || p.GetOffset() > last {
			s.written[p.GetPartition()] = p.GetOffset()
		}
	}
	s.mu.Unlock()
	var rejected RejectedError
	for _, r := range resp.Msg.GetResults() {
		if !r.GetAccepted() {
			rejected.Results = append(rejected.Results, r)
		}
	}
	if len(rejected.Results) > 0 {
		return &rejected
	}
	return nil
}

func (s *Session) fill(e *ingestv1.WatchEvent) error {
	switch e.GetProfileId() {
	case "":
		e.ProfileId = s.viewer.GetProfileId()
	case s.viewer.GetProfileId():
	default:
		return fmt.Errorf("it is of profile %q, the session of %q", e.GetProfileId(), s.viewer.GetProfileId())
	}
	if e.EventId == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make an event_id: %w", err)
		}
		e.EventId = id.String()
	}
	if e.SchemaVersion == 0 {
		e.SchemaVersion = schemaVersion
	}
	if e.SessionId == "" {
		e.SessionId = s.id
	}
	if e.Country == "" {
		e.Country = s.viewer.GetCountry()
	}
	if e.OccurredAt == 0 {
		e.OccurredAt = time.Now().UnixMicro()
	}
	return nil
}

// positions are what the session wrote last.
func (s *Session) positions() []*servingv1.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*servingv1.Position
	for _, partition := range slices.Sorted(maps.Keys(s.written)) {
		out = append(out, &servingv1.Position{Partition: partition, Offset: s.written[partition]})
	}
	return out
}

// List is Recommend's answer.
type List struct {
	*servingv1.RecommendResponse
}

// Recommend answers what to show the viewer next, from a state that has all that the session recorded; where the service could not wait for
// that, Degraded has state_stale. The request may be nil; its viewer is the session's.
func (s *Session) Recommend(ctx context.Context, req *servingv1.RecommendRequest) (*List, error) {
	m := &servingv1.RecommendRequest{}
	if req != nil {
		m = proto.CloneOf(req)
	}
	m.Viewer, m.MinPosition = s.viewer, append(m.MinPosition, s.positions()...)
	resp, err := s.client.Recommendations.Recommend(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, fmt.Errorf("recommend for %s: %w", s.viewer.GetProfileId(), err)
	}
	return &List{resp.Msg}, nil
}

// Page is HomePage's answer.
type Page struct {
	*servingv1.HomePageResponse
}

// HomePage answers the viewer's home page, as Recommend does.
func (s *Session) HomePage(ctx context.Context, req *servingv1.HomePageRequest) (*Page, error) {
	m := &servingv1.HomePageRequest{}
	if req != nil {
		m = proto.CloneOf(req)
	}
	m.Viewer, m.MinPosition = s.viewer, append(m.MinPosition, s.positions()...)
	resp, err := s.client.Recommendations.HomePage(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, fmt.Errorf("home page of %s: %w", s.viewer.GetProfileId(), err)
	}
	return &Page{resp.Msg}, nil
}

// errNotShown is for places that an answer does not have.
var errNotShown = errors.New("the answer has no such place")

// Seen says that the titles from place from up to, not including, place to were on screen: half of each at least, for a second.
func (l *List) Seen(from, to int) (*ingestv1.WatchEvent, error) {
	return seen(l.GetRequestId(), 0, l.GetTitles(), from, to)
}

// Led is an event of a type about the title at a place, which the answer led to: a click, or a play with its play_id set by the caller.
func (l *List) Led(place int, typ ingestv1.EventType) (*ingestv1.WatchEvent, error) {
	return led(l.GetRequestId(), 0, l.GetTitles(), place, typ)
}

// Seen is List.Seen of a row of the page.
func (p *Page) Seen(row, from, to int) (*ingestv1.WatchEvent, error) {
	if row < 0 || row >= len(p.GetRows()) {
		return nil, fmt.Errorf("row %d of %d: %w", row, len(p.GetRows()), errNotShown)
	}
	return seen(p.GetRequestId(), row, p.GetRows()[row].GetTitles(), from, to)
}

// Led is List.Led of a row of the page.
func (p *Page) Led(row, place int, typ ingestv1.EventType) (*ingestv1.WatchEvent, error) {
	if row < 0 || row >= len(p.GetRows()) {
		return nil, fmt.Errorf("row %d of %d: %w", row, len(p.GetRows()), errNotShown)
	}
	return led(p.GetRequestId(), row, p.GetRows()[row].GetTitles(), place, typ)
}

func seen(request string, row int, titles []*servingv1.Recommendation, from, to int) (*ingestv1.WatchEvent, error) {
	if from < 0 || to > len(titles) || from >= to {
		return nil, fmt.Errorf("places %d to %d of %d: %w", from, to, len(titles), errNotShown)
	}
	e := &ingestv1.WatchEvent{
		Type: ingestv1.EventType_EVENT_TYPE_SLATE_SEEN, RequestId: request, Row: proto.Uint32(uint32(row)),
	}
	for _, t := range titles[from:to] {
		e.SeenTitleIds = append(e.SeenTitleIds, t.GetTitleId())
	}
	return e, nil
}

func led(request string, row int, titles []*servingv1.Recommendation, place int, typ ingestv1.EventType) (*ingestv1.WatchEvent, error) {
	if place < 0 || place >= len(titles) {
		return nil, fmt.Errorf("place %d of %d: %w", place, len(titles), errNotShown)
	}
	return &ingestv1.WatchEvent{
		Type: typ, TitleId: titles[place].GetTitleId(), RequestId: request, Row: proto.Uint32(uint32(row)), Rank: proto.Uint32(uint32(place)),
	}, nil
}
