package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for field, mend := range map[string]func(*Config){
		"telemetry.log_level":      func(c *Config) { c.LogLevel = "loud" },
		"telemetry.log_format":     func(c *Config) { c.LogFormat = "xml" },
		"telemetry.trace_endpoint": func(c *Config) { c.TraceEndpoint = "localhost:4318" },
		"telemetry.profile_listen": func(c *Config) { c.ProfileListen = ":6060" },
		"telemetry.trace_ratio":    func(c *Config) { c.TraceRatio = 2 },
	} {
		c := DefaultConfig()
		mend(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("Validate = %v, want one that names %s", err, field)
		}
	}
}

func TestLoggerHonoursLevelAndFormat(t *testing.T) {
	var b bytes.Buffer
	c := DefaultConfig()
	c.LogLevel = "warn"
	log, err := Logger(c, &b, slog.LevelDebug)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("heard", "n", 1)
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"msg":"heard"`) {
		t.Errorf("logged %q", got)
	}
}

func TestAutoLevelIsTheCommands(t *testing.T) {
	var b bytes.Buffer
	log, err := Logger(DefaultConfig(), &b, slog.LevelWarn)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("heard")
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "heard") {
		t.Errorf("logged %q", got)
	}
}

func TestRegistryHoldsRuntimeMetrics(t *testing.T) {
	families, err := Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, want := range []string{"go_goroutines", "process_resident_memory_bytes", "go_build_info"} {
		if !names[want] {
			t.Errorf("no metric %s", want)
		}
	}
}

func TestSpansReachTheEndpoint(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var req coltrace.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil {
			t.Error(err)
		}
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					got = append(got, s.GetName())
				}
			}
		}
	}))
	defer server.Close()
	c := DefaultConfig()
	c.TraceEndpoint, c.TraceRatio = server.URL, 1
	provider, stop, err := Tracer(t.Context(), c, "test")
	if err != nil {
		t.Fatal(err)
	}
	_, span := provider.Tracer("test").Start(t.Context(), "recommend")
	span.End()
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "recommend" {
		t.Errorf("endpoint saw %q", got)
	}
}

func TestNoEndpointNoTraces(t *testing.T) {
	provider, stop, err := Tracer(t.Context(), DefaultConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	_, span := provider.Tracer("test").Start(t.Context(), "x")
	if span.IsRecording() {
		t.Error("a span records without an endpoint")
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
}
