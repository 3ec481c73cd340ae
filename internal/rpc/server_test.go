package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"go.opentelemetry.io/otel/trace/noop"

	"marquee/internal/telemetry"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
)

// service answers as each test tells it to.
type service struct {
	servingv1connect.UnimplementedRecommendationServiceHandler
	recommend func(context.Context) error
}

func (s *service) Recommend(ctx context.Context, _ *connect.Request[servingv1.RecommendRequest]) (*connect.Response[servingv1.RecommendResponse], error) {
	if err := s.recommend(ctx); err != nil {
		return nil, err
	}
	return connect.NewResponse(&servingv1.RecommendResponse{RequestId: "r"}), nil
}

func start(t *testing.T, cfg Config, ready func(context.Context) error, svc *service) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := New(cfg, slog.New(slog.DiscardHandler), telemetry.Registry(), noop.NewTracerProvider(), ready)
	if err != nil {
		t.Fatal(err)
	}
	path, handler := servingv1connect.NewRecommendationServiceHandler(svc, s.Options()...)
	s.Handle(servingv1connect.RecommendationServiceName, path, handler)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openGate(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Gate().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func always(context.Context) error { return nil }

func request(profile string) *connect.Request[servingv1.RecommendRequest] {
	return connect.NewRequest(&servingv1.RecommendRequest{Viewer: &servingv1.Viewer{ProfileId: profile}})
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestConnectGRPCAndJSONOnOnePort(t *testing.T) {
	s := start(t, DefaultConfig(), always, &service{recommend: always})
	openGate(t, s)
	h2c := &http.Client{Transport: func() *http.Transport {
		p := new(http.Protocols)
		p.SetUnencryptedHTTP2(true)
		return &http.Transport{Protocols: p}
	}()}
	for name, client := range map[string]servingv1connect.RecommendationServiceClient{
		"connect":  servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address()),
		"json":     servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address(), connect.WithProtoJSON()),
		"grpc":     servingv1connect.NewRecommendationServiceClient(h2c, s.Address(), connect.WithGRPC()),
		"grpc-web": servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address(), connect.WithGRPCWeb()),
	} {
		resp, err := client.Recommend(t.Context(), request("p"))
		if err != nil || resp.Msg.GetRequestId() != "r" {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
	resp, err := http.Post(s.Address()+servingv1connect.RecommendationServiceRecommendProcedure, "application/json",
		strings.NewReader(`{"viewer":{"profile_id":"p"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), `"requestId":"r"`) {
		t.Errorf("plain JSON answered %q, %v", b, err)
	}
	if code, body := get(t, s.Address()+"/metrics"); code != 200 || !strings.Contains(body, "marquee_rpc_seconds_count") {
		t.Errorf("/metrics answered %d without the calls' times", code)
	}
}

func TestInvalidRequestNamesTheField(t *testing.T) {
	s := start(t, DefaultConfig(), always, &service{recommend: always})
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	_, err := client.Recommend(t.Context(), request(""))
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "viewer.profile_id") {
		t.Errorf("got %v", err)
	}
}

func TestPanicIsAnInternalErrorAndTheServerLives(t *testing.T) {
	first := true
	s := start(t, DefaultConfig(), always, &service{recommend: func(context.Context) error {
		if first {
			first = false
			panic("boom")
		}
		return nil
	}})
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	_, err := client.Recommend(t.Context(), request("p"))
	if connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "boom") {
		t.Errorf("a panic answered %v", err)
	}
	if _, err := client.Recommend(t.Context(), request("p")); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestDeadlineIsImposed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RequestTimeout = 20 * time.Millisecond
	s := start(t, cfg, always, &service{recommend: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	openGate(t, s)
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	if _, err := client.Recommend(t.Context(), request("p")); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("got %v", err)
	}
}

func TestOversizedRequestIsRefused(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxRequestBytes = 1 << 10
	s := start(t, cfg, always, &service{recommend: always})
	openGate(t, s)
	resp, err := http.Post(s.Address()+servingv1connect.RecommendationServiceRecommendProcedure, "application/json",
		bytes.NewReader(append([]byte(`{"viewer":{"profile_id":"`), bytes.Repeat([]byte("x"), 1<<20)...)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("answered %d, want 429 (resource_exhausted)", resp.StatusCode)
	}
}

func TestGateDrains(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	s := start(t, DefaultConfig(), always, &service{recommend: func(context.Context) error {
		close(inside)
		<-release
		return nil
	}})
	client := servingv1connect.NewRecommendationServiceClient(http.DefaultClient, s.Address())
	if _, err := client.Recommend(t.Context(), request("p")); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Fatalf("before the gate opened: %v", err)
	}
	openGate(t, s)
	answered, stopped := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := client.Recommend(context.Background(), request("p"))
		answered <- err
	}()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { stopped <- s.Gate().Stop(ctx) }()
	for s.open.Load() {
		runtime.Gosched()
	}
	if _, err := client.Recommend(t.Context(), request("p")); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("a call after Stop: %v", err)
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Errorf("Stop = %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
}

func TestHealthFollowsReadinessNotLiveness(t *testing.T) {
	ready := errors.New("serving: 12 events behind")
	s := start(t, DefaultConfig(), func(context.Context) error { return ready }, &service{recommend: always})
	if code, body := get(t, s.Address()+"/readyz"); code != 503 || !strings.Contains(body, "12 events behind") {
		t.Errorf("/readyz answered %d %q", code, body)
	}
	if code, _ := get(t, s.Address()+"/livez"); code != 200 {
		t.Errorf("/livez answered %d", code)
	}
	got, err := s.Check(t.Context(), &grpchealth.CheckRequest{Service: servingv1connect.RecommendationServiceName})
	if err != nil || got.Status != grpchealth.StatusNotServing {
		t.Errorf("Check = %v, %v", got, err)
	}
	ready = nil
	if got, err := s.Check(t.Context(), &grpchealth.CheckRequest{}); err != nil || got.Status != grpchealth.StatusServing {
		t.Errorf("Check = %v, %v", got, err)
	}
	if _, err := s.Check(t.Context(), &grpchealth.CheckRequest{Service: "none"}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("Check of an unknown service = %v", err)
	}
}

func TestPortInUseSaysSo(t *testing.T) {
	s := start(t, DefaultConfig(), always, &service{recommend: always})
	cfg := DefaultConfig()
	cfg.Listen = strings.TrimPrefix(s.Address(), "http://")
	second, err := New(cfg, slog.New(slog.DiscardHandler), telemetry.Registry(), noop.NewTracerProvider(), always)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "another process has that port") {
		t.Errorf("Start = %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, mend := range map[string]func(*Config){
		"rpc.listen":              func(c *Config) { c.Listen = "8080" },
		"rpc.request_timeout":     func(c *Config) { c.RequestTimeout = 0 },
		"rpc.idle_timeout":        func(c *Config) { c.IdleTimeout = -1 },
		"rpc.max_calls":           func(c *Config) { c.MaxCalls = 0 },
		"rpc.max_request_bytes":   func(c *Config) { c.MaxRequestBytes = 1 },
		"rpc.read_header_timeout": func(c *Config) { c.ReadHeaderTimeout = 48 * time.Hour },
	} {
		c := DefaultConfig()
		mend(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("Validate = %v, want one that names %s", err, field)
		}
	}
}
