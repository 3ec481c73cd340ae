package main

import (
	"os"
	"slices"
	"strings"
	"time"
)

// result is the last line of output. Rates are events a second, times as their names say.
type result struct {
	// RecordEvents is the rate from the first call until every acknowledged event was counted in both sinks; Accepted the
	// rate of acknowledgements alone; Sinks that of both sinks while events were being sent.
	RecordEvents float64 `json:"record_events_per_s"`
	Accepted     float64 `json:"accepted_events_per_s"`
	Sinks        float64 `json:"sink_events_per_s"`
	// DrainS is how long both sinks took to hold everything after the last acknowledgement.
	DrainS     float64 `json:"drain_s"`
	EventBytes float64 `json:"event_bytes"`
	// The paced phase: acknowledgement from when the batch was due; lag from its acknowledgement to both sinks.
	PacedRate float64 `json:"paced_events_per_s"`
	AckP50    float64 `json:"ack_p50_ms"`
	AckP99    float64 `json:"ack_p99_ms"`
	LagP50    float64 `json:"lag_p50_ms"`
	LagP99    float64 `json:"lag_p99_ms"`
	// SaturatedAck are acknowledgements while callers send as fast as they can.
	SaturatedAckP50 float64 `json:"saturated_ack_p50_ms"`
	SaturatedAckP99 float64 `json:"saturated_ack_p99_ms"`

	Import      float64 `json:"import_events_per_s"`
	BareProduce float64 `json:"bare_produce_per_s"`
	ImportRatio float64 `json:"import_ratio"`

	BareInsert      float64 `json:"bare_insert_rows_per_s"`
	BareInsertRatio float64 `json:"bare_insert_ratio"`
	// ImportInsertRatio is the import's rate to that of the bare insert.
	ImportInsertRatio float64 `json:"import_insert_ratio"`

	RSSMax int64 `json:"rss_bytes_max"`
	PSSMax int64 `json:"pss_bytes_max"`
	Events int64 `json:"events_total"`
	// Memory is by phase.
	Memory []memoryPeak `json:"memory"`

	// CPU is processor time of the record phase, in microseconds an event: of this program, the service, and the warehouse's
	// process.
	CPU cpuShares `json:"cpu_us_per_event"`
	// ImportCPU is that of the import, its own process included.
	ImportCPU cpuShares `json:"import_cpu_us_per_event"`

	Synced     bool   `json:"fsync"`
	SyncedHow  string `json:"fsync_evidence"`
	Broker     string `json:"broker"`
	Modules    string `json:"modules"`
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

// cpuShares is processor time by process, in microseconds an event.
type cpuShares struct {
	Client    float64 `json:"client"`
	Service   float64 `json:"service"`
	Warehouse float64 `json:"warehouse"`
	Importer  float64 `json:"importer,omitempty"`
}

// quantile returns the q-quantile of durations, in milliseconds; it sorts them.
func quantile(durations []time.Duration, q float64) float64 {
	if len(durations) == 0 {
		return 0
	}
	slices.Sort(durations)
	at := min(int(q*float64(len(durations))), len(durations)-1)
	return float64(durations[at].Microseconds()) / 1000
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}
