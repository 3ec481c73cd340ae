package state

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	applied, replayed, undecodable   prometheus.Counter
	lag, loadSeconds, historyMissing prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, store *Store, f *Follower) *metrics {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "marquee_serving_state_events_total",
		Help: "Records of the watch-event log by what became of them in the profile state.",
	}, []string{"outcome"})
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		applied:        events.WithLabelValues("applied"),
		replayed:       events.WithLabelValues("replayed"),
		undecodable:    events.WithLabelValues("undecodable"),
		lag:            gauge("marquee_serving_state_lag_events", "Events the profile state is behind the log."),
		loadSeconds:    gauge("marquee_serving_state_load_seconds", "Time the history took to load at start."),
		historyMissing: gauge("marquee_serving_state_history_missing", "1 when history could not be loaded at start."),
	}
	reg.MustRegister(events,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "marquee_serving_state_profiles",
			Help: "Profiles in the state.",
		}, func() float64 { return float64(store.Profiles()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "marquee_serving_state_stale_seconds",
			Help: "Age of the state: seconds since it was last known to hold the whole log.",
		}, func() float64 {
			if f.caughtUp.Load() == 0 {
				return 0
			}
			return f.staleFor().Seconds()
		}))
	return m
}
