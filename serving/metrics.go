package serving

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"marquee/serving/retrieve"
)

type metrics struct {
	requests        *prometheus.CounterVec
	stages          map[string]prometheus.Observer
	degraded        *prometheus.CounterVec
	arms            *prometheus.CounterVec
	shown           [retrieve.Sources]prometheus.Counter
	late            [retrieve.Sources]prometheus.Counter
	releaseFailures *prometheus.CounterVec
	release         *prometheus.GaugeVec
	recall          *prometheus.GaugeVec
	revision        prometheus.Gauge
	titles          *prometheus.GaugeVec
	buildSeconds    prometheus.Gauge
	bundle          string
}

// The stages whose time is measured and explained.
const (
	stageWait     = "wait"
	stageRetrieve = "retrieve"
	stageFilter   = "filter"
	stageRank     = "rank"
	stageArrange  = "arrange"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		requests:        counter("marquee_serving_requests_total", "Requests for recommendations by RPC.", "rpc"),
		degraded:        counter("marquee_serving_degraded_total", "Steps of degradation that answers took.", "step"),
		arms:            counter("marquee_serving_arm_requests_total", "Requests by experiment and arm.", "experiment", "arm"),
		releaseFailures: counter("marquee_serving_release_failures_total", "Times the promoted release could not be asked for or was refused.", "reason"),
		release: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "marquee_serving_release_info", Help: "1 for the release in use.",
		}, []string{"bundle"}),
		recall: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "marquee_serving_index_recall", Help: "Share of the ten nearest titles that the indexes of the release in use found when it was published.",
		}, []string{"metric"}),
		titles: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "marquee_serving_titles", Help: "Titles of the catalogue, by whether the release knows them.",
		}, []string{"in_release"}),
		revision:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "marquee_serving_catalog_revision", Help: "The catalogue revision answers are made from."}),
		buildSeconds: prometheus.NewGauge(prometheus.GaugeOpts{Name: "marquee_serving_picture_seconds", Help: "Time the latest picture of catalogue and release took to build."}),
		stages:       make(map[string]prometheus.Observer),
	}
	stages := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "marquee_serving_stage_seconds",
		Help:    "Time of an answer's stages.",
		Buckets: []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 2, 10},
	}, []string{"stage"})
	reg.MustRegister(m.release, m.recall, m.titles, m.revision, m.buildSeconds, stages)
	shown := counter("marquee_serving_titles_total", "Titles answered, by what put them there.", "source")
	late := counter("marquee_serving_sources_late_total", "Times a source was left out of an answer for want of time.", "source")
	for s := range m.shown {
		m.shown[s] = shown.WithLabelValues(retrieve.Source(s).String())
		m.late[s] = late.WithLabelValues(retrieve.Source(s).String())
	}
	for _, s := range []string{stageWait, stageRetrieve, stageFilter, stageRank, stageArrange} {
		m.stages[s] = stages.WithLabelValues(s)
	}
	return m
}

// picture tells of a new picture. One goroutine calls it.
func (m *metrics) picture(bundle string, p *retrieve.Picture, took time.Duration) {
	if m.bundle != bundle {
		m.release.Reset()
		m.recall.Reset()
		m.bundle = bundle
	}
	if bundle != "" {
		m.release.WithLabelValues(bundle).Set(1)
		for metric, recall := range p.Bundle.Manifest().Recall {
			m.recall.WithLabelValues(metric).Set(recall)
		}
	}
	known := 0
	for row := range uint32(p.ModelRows()) {
		if p.Has(row) {
			known++
		}
	}
	m.titles.WithLabelValues("yes").Set(float64(known))
	m.titles.WithLabelValues("no").Set(float64(p.Len() - known))
	m.revision.Set(float64(p.Revision()))
	m.buildSeconds.Set(took.Seconds())
}
