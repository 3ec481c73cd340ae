// Package knn recommends what is watched by the same profiles: neighbourhood models, which every other model has to beat
// (Ferrari Dacrema, Cremonesi and Jannach, Are we really making much progress?, 2019).
package knn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"marquee/internal/sparse"
)

// ErrData is wrapped by every error about the interactions given to Train.
var ErrData = errors.New("cannot train on this data")

// Config is what decides a model besides the data.
type Config struct {
	// Neighbours is how many of a title's nearest titles are kept, 1 or more.
	Neighbours int `koanf:"neighbours"`
	// Shrinkage is added to the similarity's denominator, so that a similarity few profiles speak for is small. 0 or more.
	Shrinkage float64 `koanf:"shrinkage"`
	// Asymmetry is the exponent of the title's own norm in the denominator; the other's is 1-Asymmetry. 0.5 is the
	// cosine; less makes popular titles less alike to everything (Aiolli 2013). 0 to 1.
	Asymmetry float64 `koanf:"asymmetry"`
	// Activity makes a profile that watches much count less: its strengths are multiplied by its number of titles to the power
	// of -Activity. 0 counts all alike, 0.5 scales a profile of equal strengths to length 1 (Karypis 2001). 0 to 1.
	Activity float64 `koanf:"activity"`
	// BM25 weighs an entry by K1 and B of BM25 before anything else, titles being documents and profiles terms: a title of a
	// profile that watches everything says little. With K1 = 0 entries are taken as they are.
	K1 float64 `koanf:"k1"`
	B  float64 `koanf:"b"`
	// Workers is the number of goroutines; 0 means one a processor. It does not affect the result.
	Workers int `koanf:"workers"`
}

// DefaultConfig returns the cosine with 100 neighbours and a little shrinkage.
func DefaultConfig() Config { return Config{Neighbours: 100, Shrinkage: 10, Asymmetry: 0.5, B: 0.5} }

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Neighbours >= 1, "neighbours must be 1 or more, is %d", c.Neighbours)
	check(c.Shrinkage >= 0 && !math.IsInf(c.Shrinkage, 1), "shrinkage must be 0 or more, is %g", c.Shrinkage)
	check(c.Asymmetry >= 0 && c.Asymmetry <= 1, "asymmetry must be between 0 and 1, is %g", c.Asymmetry)
	check(c.Activity >= 0 && c.Activity <= 1, "activity must be between 0 and 1, is %g", c.Activity)
	check(c.K1 >= 0 && !math.IsInf(c.K1, 1), "k1 must be 0 or more, is %g", c.K1)
	check(c.B >= 0 && c.B <= 1, "b must be between 0 and 1, is %g", c.B)
	check(c.Workers >= 0, "workers must be 0 or more, is %d", c.Workers)
	return errors.Join(errs...)
}

// ItemModel holds each title's nearest titles. It is immutable and safe for concurrent use.
type ItemModel struct {
	// Near is titles x titles: row i holds the titles nearest to i, columns ascending, with their similarities, all above 0.
	Near *sparse.CSR
}

// TrainItems computes item-kNN of m, users x titles with strengths as values, those of 0 and below ignored: the similarity of titles
// i and j is x_i.x_j / (|x_i|^2a * |x_j|^2(1-a) + shrinkage), the Neighbours largest kept. The result does not depend on
// the number of workers.
func TrainItems(ctx context.Context, m *sparse.CSR, cfg Config) (*ItemModel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	users, err := positive(m)
	if err != nil {
		return nil, err
	}
	damp(users, cfg.Activity)
	titles := users.Transpose()
	if cfg.K1 > 0 {
		bm25(titles, cfg.K1, cfg.B)
		users = titles.Transpose()
	}
	t := &itemTrainer{cfg: cfg, users: users, titles: titles, norm: norms(titles), rows: make([][]neighbour, titles.Rows)}
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	near, err := t.matrix()
	if err != nil {
		return nil, err
	}
	return &ItemModel{Near: near}, nil
}

// positive is m without the entries of strength 0 and below.
func positive(m *sparse.CSR) (*sparse.CSR, error) {
	p := &sparse.CSR{Rows: m.Rows, Cols: m.Cols, Indptr: make([]int64, m.Rows+1)}
	for r := range m.Rows {
		cols, vals := m.Row(r)
		for i, v := range vals {
			if v > 0 {
				p.Indices, p.Values = append(p.Indices, cols[i]), append(p.Values, v)
			}
		}
		p.Indptr[r+1] = int64(len(p.Indices))
	}
	if p.NNZ() == 0 {
		return nil, fmt.Errorf("%w: no interaction has a strength above 0", ErrData)
	}
	return p, nil
}

// damp multiplies each user's strengths by the number of its titles to the power of -activity.
func damp(users *sparse.CSR, activity float64) {
	if activity == 0 {
		return
	}
	for u := range users.Rows {
		_, vals := users.Row(u)
		scale := float32(math.Pow(float64(max(len(vals), 1)), -activity))
		for i := range vals {
			vals[i] *= scale
		}
	}
}

// bm25 replaces each entry of titles x users by its Okapi BM25 weight (Robertson and Zaragoza 2009): a title is the document, a
// user the term.
func bm25(titles *sparse.CSR, k1, b float64) {
	frequency := make([]float64, titles.Cols)
	for _, u := range titles.Indices {
		frequency[u]++
	}
	var total float64
	for _, v := range titles.Values {
		total += float64(v)
	}
	mean := total / float64(titles.Rows)
	for r := range titles.Rows {
		cols, vals := titles.Row(r)
		var length float64
		for _, v := range vals {
			length += float64(v)
		}
		norm := 1 - b + b*length/mean
		for i, v := range vals {
			idf := math.Log(float64(titles.Rows)) - math.Log1p(frequency[cols[i]])
			vals[i] = float32(max(idf, 0) * float64(v) * (k1 + 1) / (k1*norm + float64(v)))
		}
	}
}

func norms(titles *sparse.CSR) []float64 {
	out := make([]float64, titles.Rows)
	for r := range out {
		_, vals := titles.Row(r)
		for _, v := range vals {
			out[r] += float64(v) * float64(v)
		}
	}
	return out
}

type neighbour struct {
	title uint32
	sim   float32
}

type itemTrainer struct {
	cfg           Config
	users, titles *sparse.CSR
	norm          []float64 // squared
	rows          [][]neighbour
	next          atomic.Int64
}

func (t *itemTrainer) run(ctx context.Context) error {
	workers := t.cfg.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { t.work(ctx) })
	}
	wg.Wait()
	return ctx.Err()
}

// work takes titles in runs, since neighbouring titles cost alike and a title alone is soon done.
func (t *itemTrainer) work(ctx context.Context) {
	const run = 64
	sum := make([]float32, t.titles.Rows)
	var touched []uint32
	var found []neighbour
	for ctx.Err() == nil {
		lo := int(t.next.Add(run)) - run
		if lo >= t.titles.Rows {
			return
		}
		for i := lo; i < min(lo+run, t.titles.Rows); i++ {
			touched = t.products(i, sum, touched[:0])
			found = found[:0]
			for _, j := range touched {
				if s := t.similarity(i, int(j), sum[j]); s > 0 && int(j) != i {
					found = append(found, neighbour{j, s})
				}
				sum[j] = 0
			}
			t.rows[i] = nearest(found, t.cfg.Neighbours)
		}
	}
}

// products adds up x_i.x_j for every title j that shares a user with i, and returns those titles.
func (t *itemTrainer) products(i int, sum []float32, touched []uint32) []uint32 {
	users, weights := t.titles.Row(i)
	for k, u := range users {
		cols, vals := t.users.Row(int(u))
		w := weights[k]
		for n, j := range cols {
			if sum[j] == 0 {
				touched = append(touched, j)
			}
			sum[j] += w * vals[n]
		}
	}
	return touched
}

func (t *itemTrainer) similarity(i, j int, product float32) float32 {
	d := math.Sqrt(t.norm[i] * t.norm[j])
	if a := t.cfg.Asymmetry; a != 0.5 {
		d = math.Pow(t.norm[i], a) * math.Pow(t.norm[j], 1-a)
	}
	return float32(float64(product) / (d + t.cfg.Shrinkage))
}

// nearest returns a copy of the k most similar, by title.
func nearest(found []neighbour, k int) []neighbour {
	if len(found) > k {
		slices.SortFunc(found, func(a, b neighbour) int {
			return cmp.Or(cmp.Compare(b.sim, a.sim), cmp.Compare(a.title, b.title))
		})
		found = found[:k]
	}
	out := slices.Clone(found)
	slices.SortFunc(out, func(a, b neighbour) int { return cmp.Compare(a.title, b.title) })
	return out
}

func (t *itemTrainer) matrix() (*sparse.CSR, error) {
	m := &sparse.CSR{Rows: len(t.rows), Cols: len(t.rows), Indptr: make([]int64, len(t.rows)+1)}
	for i, row := range t.rows {
		for _, n := range row {
			m.Indices, m.Values = append(m.Indices, n.title), append(m.Values, n.sim)
		}
		m.Indptr[i+1] = int64(len(m.Indices))
	}
	return m, m.Validate()
}

// Score sets scores[t] to the sum, over the titles of a history, of its strength times the similarity to title t: negative
// strengths take away. A title no neighbour speaks for gets -Inf, it is not recommended.
func (m *ItemModel) Score(history []uint32, strength []float32, scores []float32) error {
	if len(scores) != m.Near.Rows || len(history) != len(strength) {
		return fmt.Errorf("%d scores for %d titles, %d strengths for %d titles", len(scores), m.Near.Rows, len(strength), len(history))
	}
	clear(scores)
	for i, h := range history {
		if int64(h) >= int64(m.Near.Rows) {
			return fmt.Errorf("title %d of %d", h, m.Near.Rows)
		}
		cols, sims := m.Near.Row(int(h))
		for n, t := range cols {
			scores[t] += strength[i] * sims[n]
		}
	}
	gone := float32(math.Inf(-1))
	for t, s := range scores {
		if s == 0 {
			scores[t] = gone
		}
	}
	return nil
}
