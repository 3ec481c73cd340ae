package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"marquee/ann"
	"marquee/internal/sparse"
	"marquee/training/als"
)

// set is vectors to index, and queries that are not among them.
type set struct {
	name    string
	metric  ann.Metric
	dim     int
	vectors []float32
	queries []float32
}

func (s *set) metricName() string {
	return map[ann.Metric]string{ann.InnerProduct: "ip", ann.Cosine: "cosine", ann.L2: "l2"}[s.metric]
}

// clustered draws n vectors and nq queries from one mixture of Gaussians whose weights fall as Zipf's law has it: a few
// large clusters, many small ones.
func clustered(name string, metric ann.Metric, n, dim, nq int) *set {
	const clusters = 1000
	r := rand.New(rand.NewPCG(20260712, uint64(n*dim)))
	centers := make([]float32, clusters*dim)
	for i := range centers {
		centers[i] = float32(r.NormFloat64())
	}
	cumulative := make([]float64, clusters)
	total := 0.0
	for i := range cumulative {
		total += 1 / float64(i+1)
		cumulative[i] = total
	}
	draw := func(n int) []float32 {
		v := make([]float32, n*dim)
		for i := range n {
			at := r.Float64() * total
			c := 0
			for cumulative[c] < at {
				c++
			}
			for j := range dim {
				v[i*dim+j] = centers[c*dim+j] + float32(0.8*r.NormFloat64())
			}
		}
		return v
	}
	return &set{name: name, metric: metric, dim: dim, vectors: draw(n), queries: draw(nq)}
}

// zipfLengths scales the vectors of a set as popularity scales item factors: a few are many times as long as most.
func zipfLengths(s *set) *set {
	n := len(s.vectors) / s.dim
	r := rand.New(rand.NewPCG(3, uint64(n)))
	for i, rank := range r.Perm(n) {
		scale := float32(3*math.Pow(float64(rank+1), -0.35) + 0.02)
		for j := range s.dim {
			s.vectors[i*s.dim+j] *= scale
		}
	}
	return s
}

// gowalla factorizes Gowalla's check-ins: the places are indexed, the users are the queries.
func gowalla(ctx context.Context, dir string, nq int) (*set, error) {
	m, err := readGowalla(filepath.Join(dir, "gowalla", "train.txt"))
	if err != nil {
		return nil, err
	}
	cfg := als.DefaultConfig()
	cfg.Dim, cfg.TrackLoss = 64, false
	// Recall@20 of the test part is .15 with these; with what suits a catalogue of some thousand titles the factors are
	// of so low a rank that ten places answer every query.
	cfg.UnobservedWeight, cfg.Regularization = 0.01, 0.01
	model, err := als.Train(ctx, m, cfg, als.Options{})
	if err != nil {
		return nil, fmt.Errorf("factorize gowalla: %w", err)
	}
	s := &set{name: "gowalla ALS x 64", metric: ann.InnerProduct, dim: cfg.Dim, vectors: model.Items}
	r := rand.New(rand.NewPCG(1, 2))
	for _, u := range r.Perm(m.Rows)[:nq] {
		s.queries = append(s.queries, model.Users[u*cfg.Dim:(u+1)*cfg.Dim]...)
	}
	return s, nil
}

// readGowalla reads lines of a user and the user's places, numbers from 0.
func readGowalla(path string) (*sparse.CSR, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read gowalla: %w", err)
	}
	defer f.Close()
	var row, col []uint32
	var user, users, places uint32
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		for i, field := range fields {
			v, err := strconv.ParseUint(field, 10, 31)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
			if i == 0 {
				user = uint32(v)
				users = max(users, user+1)
				continue
			}
			places = max(places, uint32(v)+1)
			row, col = append(row, user), append(col, uint32(v))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return sparse.FromTriplets(int(users), int(places), row, col, nil, sparse.Max)
}

func geometricMean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(v)))
}
