// Package served is the served log: what was answered to whom, with the chance each title had of its place. Log appends answers to the
// topic served, and Sink brings them into the warehouse's table served_raw.
//
// The log never slows or fails an answer: it is written behind it, from a buffer of bounded size, and what does not fit is dropped and
// counted. A sink may insert a record twice; the table keeps one row for each list of an answer, and the view served has one for each title.
package served

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	servingv1 "marquee/serving/v1"
)

// Config is how the served log is kept.
type Config struct {
	// Enabled says whether answers are logged.
	Enabled bool `koanf:"enabled"`
	// Buffer is how many answers may be on their way to the log; while it is full, answers are not logged.
	Buffer int `koanf:"buffer"`
	// BufferBytes is how many bytes they may have in all.
	BufferBytes int `koanf:"buffer_bytes"`
	// Timeout is for how long an answer is tried to be brought to the log before it is dropped.
	Timeout time.Duration `koanf:"timeout"`
	// Retention is how long the topic keeps answers. The warehouse keeps them for 400 days.
	Retention time.Duration `koanf:"retention"`
	// Partitions is how many the topic is made with.
	Partitions int `koanf:"partitions"`
}

// DefaultConfig logs, with at most 32 MB on their way.
func DefaultConfig() Config {
	return Config{Enabled: true, Buffer: 10_000, BufferBytes: 32 << 20, Timeout: 30 * time.Second, Retention: 7 * 24 * time.Hour, Partitions: 4}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{{"buffer", c.Buffer, 1, 10_000_000}, {"buffer_bytes", c.BufferBytes, 1 << 20, 1 << 34}, {"partitions", c.Partitions, 1, 10_000}} {
		if f.v < f.lo || f.v > f.hi {
			errs = append(errs, fmt.Errorf("serving.served.%s must be between %d and %d, is %d", f.name, f.lo, f.hi, f.v))
		}
	}
	for _, f := range []struct {
		name      string
		v, lo, hi time.Duration
	}{{"timeout", c.Timeout, time.Second, time.Hour}, {"retention", c.Retention, time.Hour, 10 * 365 * 24 * time.Hour}} {
		if f.v < f.lo || f.v > f.hi {
			errs = append(errs, fmt.Errorf("serving.served.%s must be between %s and %s, is %s", f.name, f.lo, f.hi, f.v))
		}
	}
	return errors.Join(errs...)
}

// Connect opens a client of the broker.
type Connect func(...kgo.Opt) (*kgo.Client, error)

// Log appends answers to the topic. It is safe for concurrent use.
type Log struct {
	client   *kgo.Client
	log      *slog.Logger
	appended prometheus.Counter
	dropped  *prometheus.CounterVec
}

// NewLog opens the log for appending.
func NewLog(cfg Config, connect Connect, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	client, err := connect(kgo.DefaultProduceTopic(servingv1.TopicServed), kgo.MaxBufferedRecords(cfg.Buffer),
		kgo.MaxBufferedBytes(cfg.BufferBytes), kgo.RecordDeliveryTimeout(cfg.Timeout), kgo.ProducerLinger(50*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("open a broker client for the served log: %w", err)
	}
	l := &Log{
		client: client, log: log,
		appended: prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_serving_served_total", Help: "Answers the served log has."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "marquee_serving_served_dropped_total", Help: "Answers that are not in the served log.",
		}, []string{"reason"}),
	}
	reg.MustRegister(l.appended, l.dropped)
	return l, nil
}

// Append logs an answer. It does not wait: the answer is dropped when too many are on their way.
func (l *Log) Append(s *servingv1.Served) {
	value, err := proto.Marshal(s)
	if err != nil {
		l.dropped.WithLabelValues("encoding").Inc()
		l.log.Error("an answer cannot be logged", "request_id", s.GetRequestId(), "error", err)
		return
	}
	l.client.TryProduce(context.Background(), &kgo.Record{Key: []byte(s.GetProfileId()), Value: value}, func(_ *kgo.Record, err error) {
		switch {
		case err == nil:
			l.appended.Inc()
		case errors.Is(err, kgo.ErrMaxBuffered):
			l.dropped.WithLabelValues("buffer_full").Inc()
		default:
			l.dropped.WithLabelValues("broker").Inc()
			l.log.Debug("an answer was not logged", "error", err)
		}
	})
}

// Close brings what is on its way to the log, until the context ends, and closes it.
func (l *Log) Close(ctx context.Context) error {
	err := l.client.Flush(ctx)
	l.client.Close()
	if err != nil {
		return fmt.Errorf("answers on their way to the served log are lost: %w", err)
	}
	return nil
}
