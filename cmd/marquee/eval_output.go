package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"marquee/eval/benchmark"
	"marquee/eval/peruser"
	"marquee/eval/report"
)

// benchmarkTable is a published split's: a row a model and seed, and below it what groups there are, differences and findings.
func benchmarkTable(r *benchmark.Report, cutoffs []int) report.Table {
	t := report.Table{
		Title: fmt.Sprintf("%s: %d users judged, %d titles, %d interactions to learn from; split %.12s, protocol %s",
			r.Protocol, r.Users, r.Titles, r.Train, r.SplitHash, r.Fingerprint),
		Header: []string{"model", "seed"},
	}
	for _, k := range cutoffs {
		for _, name := range []string{"recall", "ndcg", "hit_rate"} {
			t.Header = append(t.Header, fmt.Sprintf("%s@%d", name, k))
		}
	}
	t.Header = append(t.Header, "auc")
	metrics := t.Header[2:]
	t.Header = append(slices.Clone(t.Header), "fit", "judge")
	t.Notes = append(t.Notes, r.Notes...)
	measured := slices.Concat(r.Results, r.Baselines)
	for _, m := range measured {
		row := append([]string{m.Model, fmt.Sprint(m.Seed)}, values(m.Metrics, metrics)...)
		t.Rows = append(t.Rows, append(row, fmt.Sprintf("%.1fs", m.FitSeconds), fmt.Sprintf("%.1fs", m.JudgeSeconds)))
	}
	for _, c := range r.Comparisons {
		t.Notes = append(t.Notes, fmt.Sprintf("%s - %s, %s: %+.4f [%+.4f, %+.4f]", c.Model, c.Against, c.Metric, c.Mean, c.Low, c.High))
	}
	for _, m := range measured {
		t.Notes = append(t.Notes, findingNotes(m)...)
	}
	return t
}

// middle are the metrics groups are compared by: those of lists of k.
func middle(k int) []string {
	return []string{fmt.Sprintf("ndcg@%d", k), fmt.Sprintf("recall@%d", k), fmt.Sprintf("hit_rate@%d", k)}
}

// studyTable is that of a deployment's own history.
func studyTable(s *benchmark.Study) report.Table {
	t := report.Table{
		Title: fmt.Sprintf("%s, cut at %s: %d profiles judged, %d titles, %d interactions to learn from; split %.12s, protocol %s",
			s.Protocol, s.CutAt.Format(time.RFC3339), s.Users, s.Titles, s.Train, s.SplitHash, s.Fingerprint),
		Header: []string{"model", "ndcg@10", "95% interval", "recall@10", "recall@20", "hit_rate@10", "mrr@10", "auc"},
	}
	for _, r := range s.Results {
		row := []string{r.Model, fmt.Sprintf("%.4f", r.Metrics["ndcg@10"]), fmt.Sprintf("%.4f to %.4f", r.Interval.Low, r.Interval.High)}
		t.Rows = append(t.Rows, append(row, values(r.Metrics, t.Header[3:])...))
		for _, d := range r.Against {
			t.Notes = append(t.Notes, fmt.Sprintf("%s - %s: %+.4f (%+.4f to %+.4f), p %.4f, %.4f after Holm; effect %+.2f",
				r.Model, d.Reference, d.Mean, d.Low, d.High, d.P, d.PHolm, d.Effect))
		}
		t.Notes = append(t.Notes, findingNotes(r.Measured)...)
	}
	return t
}

func values(metrics map[string]float64, names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, fmt.Sprintf("%.4f", metrics[name]))
	}
	return out
}

// groupTable has a row a model and group, or none where no group was asked for.
func groupTable(measured []benchmark.Measured, metrics []string) report.Table {
	t := report.Table{Title: "within groups", Header: append([]string{"model", "group", "users", "places"}, metrics...)}
	for _, m := range measured {
		for _, s := range m.Slices {
			places := ""
			if s.Share > 0 {
				places = fmt.Sprintf("%.1f%%", 100*s.Share)
			}
			row := []string{m.Model, s.Slice + ": " + s.Label, fmt.Sprint(s.Users), places}
			t.Rows = append(t.Rows, append(row, values(s.Metrics, metrics)...))
		}
	}
	return t
}

// listTable says what the lists of length k are besides accurate.
func listTable(measured []benchmark.Measured, k int) report.Table {
	t := report.Table{Title: fmt.Sprintf("lists of %d", k), Header: []string{"model"}}
	var metrics []string
	for _, name := range []string{"coverage", "gini", "entropy", "novelty", "popularity", "serendipity", "diversity", "miscalibration"} {
		if at := fmt.Sprintf("%s@%d", name, k); len(measured) > 0 {
			if _, taken := measured[0].Metrics[at]; taken {
				metrics, t.Header = append(metrics, at), append(t.Header, name)
			}
		}
	}
	for _, m := range measured {
		t.Rows = append(t.Rows, append([]string{m.Model}, values(m.Metrics, metrics)...))
	}
	return t
}

// printTables prints those tables that have rows.
func printTables(c *console, format string, tables ...report.Table) error {
	for i, t := range tables {
		if len(t.Rows) == 0 {
			continue
		}
		if i > 0 {
			fmt.Fprintln(c.stdout)
		}
		if err := t.Write(c.stdout, format); err != nil {
			return err
		}
	}
	return nil
}

func findingNotes(m benchmark.Measured) (notes []string) {
	for _, f := range m.Findings {
		notes = append(notes, fmt.Sprintf("%s: %s: %s", m.Model, f.Name, f.Detail))
	}
	return notes
}

// writePerUser writes every judged user's metrics and list to a Parquet file.
func writePerUser(path string, measured []benchmark.Measured, profileID func(uint32) string) error {
	runs := make([]peruser.Run, 0, len(measured))
	for _, m := range measured {
		runs = append(runs, peruser.Run{Model: m.Model, Seed: m.Seed, Result: m.Result})
	}
	return writeFile(path, func(f *os.File) error { return peruser.Write(f, runs, profileID) })
}

func writeJSON(path string, v any) error {
	return writeFile(path, func(f *os.File) error { return printJSON(f, v) })
}

// writeFile makes a file of what write writes.
func writeFile(path string, write func(*os.File) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if err := write(f); err != nil {
		_ = f.Close() // What went wrong first is what counts.
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
