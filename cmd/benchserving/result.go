package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is the last line of output: the small world's figures, then the large one's.
type result struct {
	figures

	Large *figures `json:"large,omitempty"`
	// LargeRatio is how many times as many recommendations the small world gives; LargeHomeRatio home pages.
	LargeRatio     float64 `json:"large_ratio,omitempty"`
	LargeHomeRatio float64 `json:"large_home_ratio,omitempty"`
	LoadBefore     string  `json:"load_before"`
	LoadAfter      string  `json:"load_after"`
}

// figures are one world's. Rates are answers a second, times milliseconds, processor times microseconds an answer.
type figures struct {
	RecommendRPS       float64 `json:"recommend_rps_8"`
	RecommendP50       float64 `json:"recommend_p50_ms_8"`
	RecommendP99       float64 `json:"recommend_p99_ms_8"`
	RecommendPacedRPS  float64 `json:"recommend_paced_rps"`
	RecommendPacedP99  float64 `json:"recommend_paced_p99_ms"`
	RecommendCPU       float64 `json:"recommend_service_cpu_us"`
	RecommendClientCPU float64 `json:"recommend_generator_cpu_us"`
	HomeRPS            float64 `json:"home_rps_8"`
	HomeP50            float64 `json:"home_p50_ms_8"`
	HomeP99            float64 `json:"home_p99_ms_8"`
	HomePacedRPS       float64 `json:"home_paced_rps"`
	HomePacedP99       float64 `json:"home_paced_p99_ms"`
	HomeCPU            float64 `json:"home_service_cpu_us"`
	HomeClientCPU      float64 `json:"home_generator_cpu_us"`
	// Freshness is from a play's acknowledgement to the first answer that knows of it. Strict counts plays whose next answer was
	// asked for with min_position, StrictMissed those of which it did not know.
	FreshnessP50 float64 `json:"freshness_p50_ms"`
	FreshnessP99 float64 `json:"freshness_p99_ms"`
	Fresh        int     `json:"freshness_plays"`
	Strict       int     `json:"strict_plays"`
	StrictMissed int     `json:"strict_missed"`
	// RSS is the service's process at the end, RSSPeak the most it ever held.
	RSS      int64     `json:"rss_bytes"`
	RSSPeak  int64     `json:"rss_peak_bytes"`
	Events   int64     `json:"events_sent"`
	Titles   int       `json:"titles"`
	Profiles int       `json:"profiles"`
	Overload *overload `json:"overload,omitempty"`
}

// overload is what was left when twice the peak was asked for.
type overload struct {
	Offered      float64 `json:"offered_rps"`
	Goodput      float64 `json:"goodput_rps"`
	GoodputRatio float64 `json:"goodput_ratio"`
	P99          float64 `json:"p99_ms"`
	// Degraded is the share of answers that lacked a source.
	Degraded  float64 `json:"degraded_share"`
	Shed      int64   `json:"shed"`
	Late      int64   `json:"late"`
	RSSBefore int64   `json:"rss_before_bytes"`
	RSSAfter  int64   `json:"rss_after_bytes"`
}

// table prints the figures for a person.
func (r result) table(out io.Writer) error {
	w := new(bytes.Buffer)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "titles\tprofiles\tcall\tpeak/s\tp50 ms\tp99 ms\tpaced/s\tp99 ms\tRSS MB\t")
	row := func(f figures) {
		fmt.Fprintf(t, "%d\t%d\tRecommend\t%.0f\t%.2f\t%.2f\t%.0f\t%.2f\t%d\t\n", f.Titles, f.Profiles, f.RecommendRPS, f.RecommendP50,
			f.RecommendP99, f.RecommendPacedRPS, f.RecommendPacedP99, f.RSS>>20)
		fmt.Fprintf(t, "\t\tHomePage\t%.0f\t%.2f\t%.2f\t%.0f\t%.2f\t%d\t\n", f.HomeRPS, f.HomeP50, f.HomeP99, f.HomePacedRPS, f.HomePacedP99, f.RSSPeak>>20)
	}
	row(r.figures)
	if r.Large != nil {
		row(*r.Large)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	fmt.Fprintf(w, "a play is in the answers after %.1f ms (median), %.1f ms (p99) of %d; with min_position %d of %d were in the next\n",
		r.FreshnessP50, r.FreshnessP99, r.Fresh, r.Strict-r.StrictMissed, r.Strict)
	if o := r.Overload; o != nil {
		fmt.Fprintf(w, "asked for %.0f/s: %.0f/s answered in time (%.2f of the peak), p99 %.1f ms, %.2f of them degraded; %d shed, %d late; RSS %d to %d MB\n",
			o.Offered, o.Goodput, o.GoodputRatio, o.P99, o.Degraded, o.Shed, o.Late, o.RSSBefore>>20, o.RSSAfter>>20)
	}
	_, err := out.Write(w.Bytes())
	return err
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
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
