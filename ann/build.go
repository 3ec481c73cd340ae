package ann

import (
	"context"
	"fmt"
	"runtime"
)

// The numbers of vectors from which on Build makes a graph: up to them, comparing the query with all vectors takes less
// time than a walk of DefaultEF candidates, and misses none. Measured at 64 dimensions by BenchmarkCrossover.
const (
	CrossoverFloat32 = 10_000
	CrossoverInt8    = 24_000
)

// Options tell Build what index to make. The zero value is an index by inner product in float32, of the kind that suits
// its size.
type Options struct {
	Metric Metric
	// Kind is Exact, HNSW, or Auto for whichever is faster at this number of vectors.
	Kind Strategy
	// Int8 adds a code of one byte a component to each vector, and makes searches use it.
	Int8 bool
	// M is the number of links a vector has on the upper layers of the graph; it has twice as many on layer 0. 4 to 64, 0
	// means 16.
	M int
	// EFConstruction is how many candidates for its neighbours a vector is given when it is added: M to 4096, 0 means
	// 200.
	EFConstruction int
	// EF is how many candidates a walk keeps in a search that does not say; 0 means DefaultEF, MaxEF is the most. Calibrate
	// finds one by measurement.
	EF int
	// Seed decides which vectors the upper layers hold. With one thread, the same vectors, options and seed give the same
	// graph.
	Seed uint64
	// Threads is how many goroutines add vectors; 0 means GOMAXPROCS.
	Threads int
}

func (o Options) withDefaults(n int) Options {
	if o.Kind == Auto {
		crossover := CrossoverFloat32
		if o.Int8 {
			crossover = CrossoverInt8
		}
		o.Kind = Exact
		if n > crossover {
			o.Kind = HNSW
		}
	}
	if o.M == 0 {
		o.M = 16
	}
	if o.EFConstruction == 0 {
		o.EFConstruction = max(200, o.M)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	return o
}

// validate is given options with their defaults filled in.
func (o Options) validate() error {
	switch {
	case o.Metric > L2:
		return fmt.Errorf("ann: unknown metric %v", o.Metric)
	case o.Kind > HNSW:
		return fmt.Errorf("ann: an index is of kind exact or hnsw, not %v", o.Kind)
	case o.M < 4 || o.M > 64:
		return fmt.Errorf("ann: M must be between 4 and 64, is %d", o.M)
	case o.EFConstruction < o.M || o.EFConstruction > 4096:
		return fmt.Errorf("ann: EFConstruction must be between M (%d) and 4096, is %d", o.M, o.EFConstruction)
	case o.EF < 0 || o.EF > MaxEF:
		return fmt.Errorf("ann: EF must be between 0 and %d, is %d", MaxEF, o.EF)
	case o.Threads < 0:
		return fmt.Errorf("ann: Threads must not be negative, is %d", o.Threads)
	}
	return nil
}

// Build makes an index of the vectors, which it copies: vector i is vectors[i*dim : (i+1)*dim], and its id is i. There
// may be none.
//
// It is an error if dim is not between 1 and MaxDim, if vectors is not a whole number of vectors, or too many, and if
// one has a component that is NaN or infinite or a squared length beyond 8e37. It stops with ctx's error when ctx ends.
func Build(ctx context.Context, vectors []float32, dim int, opts Options) (Index, error) {
	if dim < 1 || dim > MaxDim {
		return nil, fmt.Errorf("ann: dimension must be between 1 and %d, is %d", MaxDim, dim)
	}
	if len(vectors)%dim != 0 {
		return nil, fmt.Errorf("ann: %d components are not a whole number of vectors of dimension %d", len(vectors), dim)
	}
	n := len(vectors) / dim
	if n > MaxLen {
		return nil, fmt.Errorf("ann: %d vectors are more than an index holds (%d)", n, MaxLen)
	}
	for i := range n {
		if err := checkVector(vectors[i*dim : (i+1)*dim]); err != nil {
			return nil, fmt.Errorf("ann: vector %d: %w", i, err)
		}
	}
	opts = opts.withDefaults(n)
	if err := opts.validate(); err != nil {
		return nil, err
	}
	ix := &index{store: newStore(vectors, dim, opts.Metric), ef: opts.EF}
	if opts.Kind == HNSW {
		if err := ix.addGraph(ctx, opts); err != nil {
			return nil, err
		}
	}
	if opts.Int8 {
		ix.quantize()
	}
	return ix, ctx.Err()
}
