package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/metric/judge"
)

// result is what either side prints.
type result struct {
	Seconds   float64            `json:"seconds"`
	Rank      float64            `json:"rank_seconds,omitempty"`
	Convert   float64            `json:"convert_seconds,omitempty"`
	Metric    float64            `json:"metric_seconds,omitempty"`
	PeakBytes int64              `json:"peak_bytes"`
	Metrics   map[string]float64 `json:"metrics"`
}

// shared are the metrics both sides have by one definition, here and in ranx.
func shared(k int) map[string]string {
	at := "@" + strconv.Itoa(k)
	return map[string]string{"precision" + at: "precision" + at, "recall" + at: "recall" + at, "hit_rate" + at: "hit_rate" + at, "ndcg" + at: "ndcg" + at, "mrr" + at: "mrr" + at}
}

// side judges the vectors and prints a result.
func side(ctx context.Context, o options, b *benchmark.Benchmark) error {
	runtime.GOMAXPROCS(o.cpu)
	users, err := vectors(o.handover, "users")
	if err != nil {
		return err
	}
	titles, err := vectors(o.handover, "titles")
	if err != nil {
		return err
	}
	start := time.Now()
	judged, err := judge.Judge(ctx, b.Holdout, judge.Factors{Dim: o.dim, Users: users, Titles: titles}, judge.Options{Cutoffs: []int{o.k}, Workers: o.cpu})
	if err != nil {
		return err
	}
	r := result{Seconds: time.Since(start).Seconds(), Metrics: judged.Means}
	if r.PeakBytes, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// peak is the most memory this process had resident. Not getrusage's, which counts the process that started this one.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read the peak of memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}
