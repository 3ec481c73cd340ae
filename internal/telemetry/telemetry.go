// Package telemetry sets up what a process says of itself: structured logs, Prometheus metrics and, when an endpoint
// is configured, OpenTelemetry traces.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/term"
)

// Config says how much is logged, how, and where traces go.
type Config struct {
	// LogLevel is debug, info, warn or error, or auto: info for the service, and for long commands whose progress no
	// terminal shows; warn for the rest.
	LogLevel string `koanf:"log_level"`
	// LogFormat is json, text, or auto: text on a terminal and json elsewhere.
	LogFormat string `koanf:"log_format"`
	// TraceEndpoint is the OTLP/HTTP endpoint that spans are sent to, http://host:4318. Empty: no traces.
	TraceEndpoint string `koanf:"trace_endpoint"`
	// TraceRatio is the share of requests traced, 0 to 1.
	TraceRatio float64 `koanf:"trace_ratio"`
	// ProfileListen is a loopback address that the Go runtime's profiles are served at, 127.0.0.1:6060. Empty: nowhere.
	ProfileListen string `koanf:"profile_listen"`
}

// levelAuto leaves the level to the kind of command.
const levelAuto = "auto"

// DefaultConfig leaves the log level to the kind of command and sends no traces.
func DefaultConfig() Config {
	return Config{LogLevel: levelAuto, LogFormat: "auto", TraceRatio: 0.01}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if _, err := c.level(0); err != nil {
		errs = append(errs, err)
	}
	switch c.LogFormat {
	case "auto", "json", "text":
	default:
		errs = append(errs, fmt.Errorf("telemetry.log_format must be auto, json or text, is %q", c.LogFormat))
	}
	if c.TraceEndpoint != "" {
		if u, err := url.Parse(c.TraceEndpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			errs = append(errs, fmt.Errorf("telemetry.trace_endpoint must be an http or https URL, is %q", c.TraceEndpoint))
		}
	}
	if c.ProfileListen != "" {
		host, _, err := net.SplitHostPort(c.ProfileListen)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			errs = append(errs, fmt.Errorf("telemetry.profile_listen must be a loopback address and a port, 127.0.0.1:6060, since profiles show what is in memory; is %q", c.ProfileListen))
		}
	}
	if !(c.TraceRatio >= 0 && c.TraceRatio <= 1) {
		errs = append(errs, fmt.Errorf("telemetry.trace_ratio must be between 0 and 1, is %v", c.TraceRatio))
	}
	return errors.Join(errs...)
}

// level is the level that is configured, or the one given where that is left to the kind of command.
func (c Config) level(auto slog.Level) (slog.Level, error) {
	if c.LogLevel == levelAuto {
		return auto, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return 0, fmt.Errorf("telemetry.log_level must be auto, debug, info, warn or error, is %q", c.LogLevel)
	}
	return level, nil
}

// Logger makes the process's logger, writing to w; auto is the level where none is configured.
func Logger(c Config, w io.Writer, auto slog.Level) (*slog.Logger, error) {
	level, err := c.level(auto)
	if err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: level}
	text := c.LogFormat == "text"
	if f, ok := w.(*os.File); ok && c.LogFormat == "auto" {
		text = term.IsTerminal(int(f.Fd()))
	}
	if text {
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return slog.New(slog.NewJSONHandler(w, opts)), nil
}

// Registry makes a metrics registry that already holds the Go runtime's and the process's own metrics.
func Registry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector())
	return reg
}

// Tracer makes the tracer provider and the function that flushes and ends it. Without an endpoint it makes one that
// records nothing.
func Tracer(ctx context.Context, c Config, version string) (trace.TracerProvider, func(context.Context) error, error) {
	if c.TraceEndpoint == "" {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.TraceEndpoint))
	if err != nil {
		return nil, nil, fmt.Errorf("set up traces to %s: %w", c.TraceEndpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.TraceRatio))),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("marquee"), semconv.ServiceVersion(version))))
	return provider, provider.Shutdown, nil
}
