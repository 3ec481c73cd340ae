package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"marquee/ann"
)

type annCommands struct {
	Info   annInfoCommand   `cmd:"" help:"Say what an index file holds."`
	Verify annVerifyCommand `cmd:"" help:"Compare all of index files with their checksums."`
	Bench  annBenchCommand  `cmd:"" help:"Measure recall and speed of an index file."`
}

// annInfo is what there is to say of an index file.
type annInfo struct {
	File           string  `json:"file"`
	Kind           string  `json:"kind"`
	Vectors        int     `json:"vectors"`
	Dim            int     `json:"dim"`
	Metric         string  `json:"metric"`
	Int8           bool    `json:"int8"`
	M              int     `json:"m,omitempty"`
	EFConstruction int     `json:"ef_construction,omitempty"`
	Layers         int     `json:"layers,omitempty"`
	EF             int     `json:"ef,omitempty"`
	Bytes          int64   `json:"bytes"`
	OpenMillis     float64 `json:"open_ms"`
	Plan           string  `json:"plan,omitempty"`
}

type annInfoCommand struct {
	File string `arg:"" type:"existingfile" help:"An index file: retrieve.ann or similar.ann in a release."`
	JSON bool   `help:"Print JSON."`
}

// Run opens a file and says what is in it.
func (a annInfoCommand) Run(c *console) (err error) {
	start := time.Now()
	f, err := ann.Open(a.File)
	if err != nil {
		return err
	}
	took := time.Since(start)
	defer func() { err = errors.Join(err, f.Close()) }()
	i := f.Info()
	out := annInfo{
		File: a.File, Kind: i.Kind.String(), Vectors: i.Len, Dim: i.Dim, Metric: i.Metric.String(), Int8: i.Int8,
		M: i.M, EFConstruction: i.EFConstruction, Layers: i.Layers, EF: i.EF, Bytes: i.Bytes, OpenMillis: float64(took.Microseconds()) / 1000,
	}
	plan, err := f.Plan(10, ann.SearchOptions{})
	if err != nil {
		return err
	}
	out.Plan = plan.String()
	if a.JSON {
		return printJSON(c.stdout, out)
	}
	fmt.Fprintf(c.stdout, "%s: %s index of %d vectors of dimension %d by %s", out.File, out.Kind, out.Vectors, out.Dim, out.Metric)
	if out.Int8 {
		fmt.Fprint(c.stdout, ", with int8 codes")
	}
	if i.Kind == ann.HNSW {
		fmt.Fprintf(c.stdout, ", M %d, efConstruction %d, %d layers, walks of %d candidates", out.M, out.EFConstruction, out.Layers, out.EF)
	}
	fmt.Fprintf(c.stdout, "; %d bytes, opened in %.1f ms\na search for ten: %s\n", out.Bytes, out.OpenMillis, out.Plan)
	return nil
}

type annVerifyCommand struct {
	Files []string `arg:"" type:"existingfile" help:"Index files."`
}

// Run reads all of the files. It goes on after a damaged one and fails in the end.
func (a annVerifyCommand) Run(c *console) error {
	var errs []error
	for _, path := range a.Files {
		if err := verifyIndex(path); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(c.stdout, "%s is whole\n", path)
	}
	return errors.Join(errs...)
}

func verifyIndex(path string) (err error) {
	f, err := ann.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Verify(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

type annBenchCommand struct {
	File    string `arg:"" type:"existingfile" help:"An index file."`
	Queries int    `help:"Number of queries." default:"500"`
	K       int    `name:"k" help:"Neighbours a query." default:"10"`
	JSON    bool   `help:"Print JSON."`
}

// annBenchRow is one way to search and what it did.
type annBenchRow struct {
	Search     string  `json:"search"`
	EF         int     `json:"ef,omitempty"`
	Recall     float64 `json:"recall"`
	PerSecond  float64 `json:"queries_per_second"`
	ScoredMean float64 `json:"scored_mean"`
}

// Run searches one query at a time, on one thread. Queries lie between two vectors of the index, and beside them: they are
// not in it.
func (a annBenchCommand) Run(c *console) (err error) {
	if a.Queries < 1 || a.K < 1 {
		return fmt.Errorf("--queries and --k must be at least 1, are %d and %d", a.Queries, a.K)
	}
	f, err := ann.Open(a.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	queries, err := between(f, a.Queries)
	if err != nil {
		return err
	}
	ways := []ann.SearchOptions{{Force: ann.Exact, Float32: true}}
	if f.Info().Int8 {
		ways = append(ways, ann.SearchOptions{Force: ann.Exact})
	}
	if f.Info().Kind == ann.HNSW {
		for _, ef := range []int{16, 32, 64, ann.DefaultEF, 192} {
			ways = append(ways, ann.SearchOptions{Force: ann.HNSW, EF: ef, Float32: true})
			if f.Info().Int8 {
				ways = append(ways, ann.SearchOptions{Force: ann.HNSW, EF: ef})
			}
		}
	}
	var out []annBenchRow
	for _, opts := range ways {
		row, err := a.measure(c.ctx, f, queries, opts)
		if err != nil {
			return err
		}
		out = append(out, row)
	}
	if a.JSON {
		return printJSON(c.stdout, out)
	}
	rows := make([][]string, len(out))
	for i, r := range out {
		rows[i] = []string{r.Search, strconv.Itoa(r.EF), fmt.Sprintf("%.4f", r.Recall), fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprintf("%.0f", r.ScoredMean)}
	}
	return printTable(c.stdout, []string{"SEARCH", "EF", fmt.Sprintf("RECALL@%d", a.K), "QUERIES/S", "SCORED"}, rows)
}

func (a annBenchCommand) measure(ctx context.Context, f *ann.File, queries []float32, opts ann.SearchOptions) (annBenchRow, error) {
	row := annBenchRow{Search: opts.Force.String() + " float32", EF: opts.EF}
	if f.Info().Int8 && !opts.Float32 {
		row.Search = opts.Force.String() + " int8"
	}
	var err error
	if row.Recall, err = ann.Recall(ctx, f, queries, a.K, opts); err != nil {
		return row, err
	}
	var found []ann.Neighbor
	scored := 0
	start := time.Now()
	for i := range a.Queries {
		if err := ctx.Err(); err != nil {
			return row, err
		}
		var plan ann.Plan
		if found, plan, err = f.Search(queries[i*f.Dim():(i+1)*f.Dim()], a.K, opts, found); err != nil {
			return row, err
		}
		scored += plan.Scored
	}
	row.PerSecond = float64(a.Queries) / time.Since(start).Seconds()
	row.ScoredMean = float64(scored) / float64(a.Queries)
	return row, nil
}

// between draws queries halfway between two vectors of an index, each moved by a tenth of their difference.
func between(f *ann.File, n int) ([]float32, error) {
	if f.Len() == 0 {
		return nil, errors.New("the index holds no vectors to search for")
	}
	r := rand.New(rand.NewPCG(1, uint64(f.Len())))
	dim := f.Dim()
	x, y, out := make([]float32, dim), make([]float32, dim), make([]float32, n*dim)
	for i := range n {
		if err := errors.Join(f.Vector(r.Uint32N(uint32(f.Len())), x), f.Vector(r.Uint32N(uint32(f.Len())), y)); err != nil {
			return nil, err
		}
		for j := range dim {
			out[i*dim+j] = (x[j]+y[j])/2 + (x[j]-y[j])*float32(r.NormFloat64())/10
		}
	}
	return out, nil
}
