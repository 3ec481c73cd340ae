package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Report is what all runs came to.
type Report struct {
	Seed uint64 `json:"seed"`
	Runs int    `json:"runs"`
	// Faults counts the runs by layout and fault.
	Faults map[string]map[string]int `json:"faults"`
	// Acknowledged counts distinct events, Duplicates those sent again after they were acknowledged, Retries the requests
	// sent again because they were not.
	Acknowledged int64 `json:"events_acknowledged"`
	Duplicates   int64 `json:"duplicates_forced"`
	Retries      int64 `json:"requests_retried"`
	// Recoveries counts processes that were started again, or replaced by their supervisor, after they were killed.
	Recoveries int         `json:"recoveries"`
	Failures   []RunResult `json:"failures"`
	Seconds    float64     `json:"seconds"`
	// Slowest is the longest run, by layout.
	Slowest map[string]float64 `json:"slowest_run_seconds"`
}

// RunResult is one run.
type RunResult struct {
	Run          int     `json:"run"`
	Layout       string  `json:"layout"`
	Fault        string  `json:"fault"`
	Acknowledged int64   `json:"events_acknowledged"`
	Duplicates   int64   `json:"duplicates_forced"`
	Retries      int64   `json:"requests_retried"`
	Recoveries   int     `json:"recoveries"`
	Seconds      float64 `json:"seconds"`
	Error        string  `json:"error,omitempty"`
}

func (r RunResult) String() string {
	verdict := "ok"
	if r.Error != "" {
		verdict = "BREACH: " + r.Error
	}
	return fmt.Sprintf("run %3d  %-8s  %-48s %5d events, %4d duplicates, %3d retries, %d recoveries, %4.1f s  %s",
		r.Run, r.Layout, r.Fault, r.Acknowledged, r.Duplicates, r.Retries, r.Recoveries, r.Seconds, verdict)
}

func newReport(seed uint64) *Report {
	return &Report{Seed: seed, Faults: map[string]map[string]int{}, Failures: []RunResult{}, Slowest: map[string]float64{}}
}

func (r *Report) add(run RunResult) {
	r.Runs++
	if r.Faults[run.Layout] == nil {
		r.Faults[run.Layout] = map[string]int{}
	}
	r.Faults[run.Layout][run.Fault]++
	r.Acknowledged += run.Acknowledged
	r.Duplicates += run.Duplicates
	r.Retries += run.Retries
	r.Recoveries += run.Recoveries
	r.Slowest[run.Layout] = max(r.Slowest[run.Layout], run.Seconds)
	if run.Error != "" {
		r.Failures = append(r.Failures, run)
	}
}

// Print writes the summary for people and, as the last line, the JSON.
func (r *Report) Print(to io.Writer) error {
	fmt.Fprintf(to, "\n%d runs in %.0f s, seed %d\n", r.Runs, r.Seconds, r.Seed)
	for _, layout := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(to, "%s (slowest run %.1f s):\n", layout, r.Slowest[layout])
		for _, fault := range slices.Sorted(maps.Keys(r.Faults[layout])) {
			fmt.Fprintf(to, "  %4d  %s\n", r.Faults[layout][fault], fault)
		}
	}
	fmt.Fprintf(to, "%d events acknowledged, %d sent again after that, %d requests repeated for want of an answer, %d recoveries\n",
		r.Acknowledged, r.Duplicates, r.Retries, r.Recoveries)
	for _, f := range r.Failures {
		fmt.Fprintf(to, "FAILED %s\n  again: -seed %d -runs %d\n", f, r.Seed, f.Run+1)
	}
	if len(r.Failures) == 0 {
		fmt.Fprintln(to, "nothing was lost, nothing counted twice")
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = fmt.Fprintf(to, "%s\n", line)
	return err
}
