package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"go.opentelemetry.io/otel/trace/noop"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/internal/telemetry"
	"marquee/serving/v1/servingv1connect"
)

// recorder takes a stream of events.
type recorder struct {
	ingestv1connect.UnimplementedIngestServiceHandler

	first chan struct{}
}

func (r *recorder) RecordEventStream(_ context.Context, stream *connect.ClientStream[ingestv1.RecordEventStreamRequest]) (*connect.Response[ingestv1.RecordEventStreamResponse], error) {
	n := uint64(0)
	for stream.Receive() {
		if n++; n == 1 {
			close(r.first)
		}
	}
	if err := stream.Err(); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return connect.NewResponse(&ingestv1.RecordEventStreamResponse{Accepted: n}), nil
}

// withStream starts a server that takes streams.
func withStream(t *testing.T, cfg Config) (*Server, *recorder) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := New(cfg, slog.New(slog.DiscardHandler), telemetry.Registry(), noop.NewTracerProvider(), always)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{first: make(chan struct{})}
	path, handler := ingestv1connect.NewIngestServiceHandler(r, s.OptionsPerItem()...)
	s.Handle(ingestv1connect.IngestServiceName, path, handler)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	openGate(t, s)
	return s, r
}

// halfRequest opens a connection and sends a request whose body never ends.
func halfRequest(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Address(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
		servingv1connect.RecommendationServiceRecommendProcedure); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestABodyThatDoesNotComeEndsItsCall(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RequestTimeout = 50 * time.Millisecond
	s := start(t, cfg, always, &service{recommend: always})
	openGate(t, s)
	conn := halfRequest(t, s)
	answer, err := io.ReadAll(conn) // the server closes: what follows on the connection is no request
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 ") || !strings.Contains(string(answer), "did not arrive in time") {
		t.Errorf("answered %q, %v", answer, err)
	}
	// A connection that was kept is not cut by the deadline of the request before.
	client := servingv1connect.NewRecommendationServiceClient(&http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}, s.Address())
	for range 2 {
		if _, err := client.Recommend(t.Context(), request("p")); err != nil {
			t.Error(err)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(3 * cfg.RequestTimeout): // the deadline has to pass to do harm
		}
	}
}

func TestStopDoesNotWaitForAClientThatSaysNothing(t *testing.T) {
	s := start(t, DefaultConfig(), always, &service{recommend: always})
	openGate(t, s)
	halfRequest(t, s)
	for s.inflight.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if err := s.Gate().Stop(ctx); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestStopCutsCallsOffThatDoNotEnd(t *testing.T) {
	s := start(t, DefaultConfig(), always, &service{recommend: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	answered := make(chan error, 1)
	go func() {
		_, err := client.Recommend(context.Background(), request("p"))
		answered <- err
	}()
	for s.inflight.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if err := s.Gate().Stop(ctx); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if err := <-answered; connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("the call was told %v", err)
	}
}

func TestStopSaysThatACallDoesNotEnd(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	s := start(t, DefaultConfig(), always, &service{recommend: func(context.Context) error {
		close(inside)
		<-release
		return nil
	}})
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := client.Recommend(context.Background(), request("p")); err == nil {
			t.Error("a call that was cut off was answered")
		}
	}()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Gate().Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop = %v", err)
	}
	close(release)
	<-ended
}

func TestStreamsMayRestAndAreToldOfTheEnd(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RequestTimeout = 20 * time.Millisecond
	s, r := withStream(t, cfg)
	stream := ingestv1connect.NewIngestServiceClient(http.DefaultClient, s.Address()).RecordEventStream(t.Context())
	if err := stream.Send(&ingestv1.RecordEventStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	<-r.first
	time.Sleep(3 * cfg.RequestTimeout) // longer than a request that is no stream may take
	if err := stream.Send(&ingestv1.RecordEventStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if err := s.Gate().Stop(ctx); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if _, err := stream.CloseAndReceive(); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("the stream was told %v", err)
	}
}

func TestStopDoesNotWaitForAReflectionStream(t *testing.T) {
	s := start(t, DefaultConfig(), always, &service{recommend: always})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	stream := grpcreflect.NewClient(&http.Client{Transport: transport}, s.Address(), connect.WithGRPC()).NewStream(t.Context())
	names, err := stream.ListServices()
	if err != nil || !slices.Contains(names, servingv1connect.RecommendationServiceName) {
		t.Fatalf("reflection lists %v, %v", names, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if _, err := stream.ListServices(); err == nil {
		t.Error("a stream outlives the port")
	}
	if _, err := stream.Close(); err == nil {
		t.Error("a stream that was cut off ended well")
	}
}

func TestAStreamThatSaysNothingEnds(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IdleTimeout = 30 * time.Millisecond
	s, r := withStream(t, cfg)
	stream := ingestv1connect.NewIngestServiceClient(http.DefaultClient, s.Address()).RecordEventStream(t.Context())
	if err := stream.Send(&ingestv1.RecordEventStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	<-r.first
	deadline := time.Now().Add(10 * time.Second)
	for s.inflight.Load() > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := s.inflight.Load(); n != 0 {
		t.Errorf("%d calls are still under way", n)
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestErrorsAreToldByWhoseTheyAre(t *testing.T) {
	var log lockedBuffer
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	s, err := New(cfg, slog.New(slog.NewTextHandler(&log, nil)), telemetry.Registry(), noop.NewTracerProvider(), always)
	if err != nil {
		t.Fatal(err)
	}
	svc := &service{}
	path, handler := servingv1connect.NewRecommendationServiceHandler(svc, s.Options()...)
	s.Handle(servingv1connect.RecommendationServiceName, path, handler)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	for _, tt := range []struct {
		name   string
		err    error
		code   connect.Code
		logged bool
		hidden string
	}{
		{"the deadline", fmt.Errorf("read: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded, false, ""},
		{"the client gone", context.Canceled, connect.CodeCanceled, false, ""},
		{"refused", connect.NewError(connect.CodeNotFound, errors.New("no such title")), connect.CodeNotFound, false, ""},
		{"a fault", errors.New("dial 10.1.2.3 as admin"), connect.CodeUnknown, true, "10.1.2.3"},
		{"an internal fault", connect.NewError(connect.CodeInternal, errors.New("file /secret/place")), connect.CodeInternal, true, "/secret"},
	} {
		before := log.String()
		svc.recommend = func(context.Context) error { return tt.err }
		_, err := client.Recommend(t.Context(), request("p"))
		if connect.CodeOf(err) != tt.code {
			t.Errorf("%s: told %v, want %v", tt.name, err, tt.code)
		}
		if tt.hidden != "" && strings.Contains(err.Error(), tt.hidden) {
			t.Errorf("%s: told %v", tt.name, err)
		}
		if said := strings.TrimPrefix(log.String(), before); (said != "") != tt.logged || !strings.Contains(said, tt.hidden) {
			t.Errorf("%s: logged %q", tt.name, said)
		}
	}
}

func TestMoreCallsThanAllowedAreRefusedAtOnce(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxCalls = 1
	inside, release := make(chan struct{}), make(chan struct{})
	s := start(t, cfg, always, &service{recommend: func(context.Context) error {
		inside <- struct{}{}
		<-release
		return nil
	}})
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	answered := make(chan error, 1)
	go func() {
		_, err := client.Recommend(context.Background(), request("p"))
		answered <- err
	}()
	<-inside
	_, err := client.Recommend(t.Context(), request("p"))
	var refused *connect.Error
	if !errors.As(err, &refused) || refused.Code() != connect.CodeResourceExhausted || refused.Meta().Get("Retry-After") == "" {
		t.Errorf("one call too many: %v", err)
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if code, _ := get(t, s.Address()+"/metrics"); code != 200 {
		t.Errorf("/metrics answered %d", code)
	}
}
