package consumer

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events       prometheus.Counter
	dead         *prometheus.CounterVec
	erased       prometheus.Counter
	lost         prometheus.Counter
	fenced       prometheus.Counter
	fetchErrors  prometheus.Counter
	throttled    prometheus.Counter
	retries      *prometheus.CounterVec
	lag          *prometheus.GaugeVec
	assigned     prometheus.Gauge
	buffered     prometheus.Gauge
	rows         prometheus.Histogram
	rangeSeconds prometheus.Histogram
	freshness    prometheus.Histogram
	attempt      *prometheus.HistogramVec
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "marquee_ingest_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "marquee_ingest_" + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "marquee_ingest_" + name, Help: help})
	}
	seconds := prometheus.ExponentialBuckets(0.001, 2, 16)
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "marquee_ingest_" + name, Help: help, Buckets: buckets})
	}
	return &metrics{
		events:       counter("stored_events_total", "Events that are in both the warehouse and the lake."),
		dead:         counters("dead_letters_total", "Records refused, by reason.", "reason"),
		erased:       counter("erased_records_total", "Records of erased profiles, which are left out."),
		lost:         counter("lost_records_total", "Records the broker removed before they were in both sinks."),
		fenced:       counter("fenced_total", "Times a worker found that another consumer owns its partition."),
		fetchErrors:  counter("fetch_errors_total", "Errors of fetching from the broker."),
		throttled:    counter("throttled_total", "Times fetching waited because the sinks were behind."),
		retries:      counters("retries_total", "Failed attempts that were repeated, by what they wrote to.", "target"),
		lag:          prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "marquee_ingest_lag_records", Help: "Records on the broker that are not in both sinks."}, []string{"partition"}),
		assigned:     gauge("assigned_partitions", "Partitions this process consumes."),
		buffered:     gauge("buffered_bytes", "Size of the records held between the broker and the sinks."),
		rows:         histogram("range_rows", "Events in a range.", prometheus.ExponentialBuckets(1, 4, 10)),
		rangeSeconds: histogram("range_seconds", "Time to write a range to both sinks.", seconds),
		freshness:    histogram("fetch_to_stored_seconds", "Time from fetching a range's first record until the range is in both sinks.", seconds),
		attempt: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "marquee_ingest_write_seconds", Help: "Time of successful writes, by what they wrote to.", Buckets: seconds,
		}, []string{"target"}),
	}
}

func (m *metrics) register(reg prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{
		m.events, m.dead, m.erased, m.lost, m.fenced, m.fetchErrors, m.throttled, m.retries, m.lag, m.assigned, m.buffered, m.rows,
		m.rangeSeconds, m.freshness, m.attempt,
	} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("register ingest metrics: %w", err)
		}
	}
	return nil
}
