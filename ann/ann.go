package ann

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Limits of what an index takes.
const (
	// MaxLen is the largest number of vectors: a search packs a row number into 31 bits.
	MaxLen = 1<<31 - 1
	// MaxDim is the largest dimension.
	MaxDim = 1 << 16
	// maxSquaredNorm bounds vectors and queries so that no product or distance of two of them leaves float32.
	maxSquaredNorm = 8e37
)

var (
	// ErrCorrupt is the cause of every error about an index file whose content contradicts itself or its checksums.
	ErrCorrupt = errors.New("index is corrupt")
	// ErrClosed is returned by a search on a file that has been closed.
	ErrClosed = errors.New("index file is closed")
)

// Metric says what near means.
type Metric uint8

const (
	// InnerProduct ranks by the inner product, the largest first: what matrix factorisation scores with.
	InnerProduct Metric = iota
	// Cosine ranks by the inner product of the vectors scaled to length 1. A zero vector has similarity 0 to everything.
	Cosine
	// L2 ranks by Euclidean distance, the smallest first.
	L2
)

func (m Metric) String() string {
	switch m {
	case InnerProduct:
		return "inner product"
	case Cosine:
		return "cosine"
	case L2:
		return "L2"
	}
	return fmt.Sprintf("Metric(%d)", uint8(m))
}

// Neighbor is one vector found.
type Neighbor struct {
	// ID is the vector's position among those the index was built from.
	ID uint32
	// Score is the inner product, the cosine, or minus the squared Euclidean distance: larger is nearer, whatever the
	// metric. It is always computed in float32, also by an index that searches in int8.
	Score float32
}

// Index is a set of vectors that can be asked for those nearest to a query. It never changes. Its methods may be
// called from any number of goroutines.
type Index interface {
	// Len is the number of vectors.
	Len() int
	// Dim is the number of components of a vector.
	Dim() int
	// Metric is what the index ranks by.
	Metric() Metric
	// Info describes the index.
	Info() Info
	// Vector copies the vector of an id to dst, which has Dim components; by Cosine, scaled to length 1.
	Vector(id uint32, dst []float32) error
	// Plan says how Search would go about k neighbours with these options, without searching. Its errors are Search's.
	Plan(k int, opts SearchOptions) (Plan, error)
	// Search appends to dst[:0] the k vectors nearest to query, the nearest first and equal scores in order of ID, and
	// says how it found them. There are fewer than k if the index, or the filter, has fewer. With a dst of capacity k
	// it allocates nothing.
	//
	// It is an error if query has not Dim components, if one of them is NaN or infinite, if k is below 1, and if the
	// filter is not one for Len vectors.
	Search(query []float32, k int, opts SearchOptions, dst []Neighbor) ([]Neighbor, Plan, error)
	// SearchBatch is Search for many queries, one after the other in queries. It uses opts.Threads goroutines, and dst
	// and its elements as Search uses dst. It stops when ctx ends.
	SearchBatch(ctx context.Context, queries []float32, k int, opts SearchOptions, dst [][]Neighbor) ([][]Neighbor, error)
	// WriteTo writes the index in the form that Open reads.
	io.WriterTo
}

// SearchOptions tune a search. The zero value is a good start.
type SearchOptions struct {
	// Filter, if not nil, holds the ids that may be returned. A filter without a single id finds nothing.
	Filter Bitmap
	// EF is how many candidates a walk through the graph keeps: more finds more and takes longer. It also stops once the k
	// nearest have stood for a while. Below k it counts as k; 0 means what the index was built or calibrated with, Info.EF.
	EF int
	// Rerank is how many candidates found in int8 are compared again in float32. Below k it counts as k; 0 means the
	// larger of 40 and 4*k, but not more than EF where that is given.
	Rerank int
	// Float32 makes an index that has int8 codes search without them.
	Float32 bool
	// Force chooses the strategy: Exact or HNSW. The zero value, Auto, leaves it to the index.
	Force Strategy
	// Threads is how many goroutines SearchBatch uses; 0 means GOMAXPROCS.
	Threads int

	eligible int // how many ids the filter holds, where that is known
}

// DefaultEF is the number of candidates a walk keeps unless index or search say otherwise: recall@10 is .98 or more on the data of 64
// dimensions this package is measured with.
const DefaultEF = 128

// Strategy is a way to search, and a kind of index.
type Strategy uint8

const (
	// Auto chooses by size, filter and options.
	Auto Strategy = iota
	// Exact compares the query with every eligible vector.
	Exact
	// HNSW walks a graph of neighbours towards the query. Where a filter holds nearly all, it drops the others afterwards.
	HNSW
	// FilteredHNSW walks the graph through all vectors and keeps the eligible ones. It appears in plans only.
	FilteredHNSW
)

func (s Strategy) String() string {
	switch s {
	case Auto:
		return "auto"
	case Exact:
		return "exact"
	case HNSW:
		return "hnsw"
	case FilteredHNSW:
		return "filtered hnsw"
	}
	return fmt.Sprintf("Strategy(%d)", uint8(s))
}

// Plan says how a search is made, or was.
type Plan struct {
	// Strategy is never Auto.
	Strategy Strategy
	// Reason says why, for people.
	Reason string
	// Eligible is the number of vectors that may be returned.
	Eligible int
	// EF is the number of candidates kept by a walk; 0 for an exact search.
	EF int
	// Rerank is the number of candidates compared again in float32; 0 for a search in float32.
	Rerank int
	// Scored is the number of vectors the query was compared with; 0 in a plan not yet carried out.
	Scored int
	// Delta is the number of vectors added since the last compaction of a Live, which are scanned besides.
	Delta int

	// spare is how many more than k nearest a walk must be sure of for k to be left when those not eligible are dropped: twice as many
	// as would do on average, and two. Where they are not enough, a filtered walk follows.
	spare int
}

func (p Plan) String() string {
	s := fmt.Sprintf("%v over %d eligible", p.Strategy, p.Eligible)
	if p.EF > 0 {
		s += fmt.Sprintf(", ef %d", p.EF)
	}
	if p.Rerank > 0 {
		s += fmt.Sprintf(", int8 with %d reranked", p.Rerank)
	}
	if p.Delta > 0 {
		s += fmt.Sprintf(", and %d scanned of the delta", p.Delta)
	}
	return s + ": " + p.Reason
}

// Info describes an index.
type Info struct {
	Kind   Strategy // Exact or HNSW
	Len    int
	Dim    int
	Metric Metric
	Int8   bool // has int8 codes beside the float32 vectors
	// M, EFConstruction and Seed are those the graph was built with, Layers how many it has; 0 without a graph.
	M, EFConstruction, Layers int
	Seed                      uint64
	// EF is how many candidates a walk keeps in a search that does not say; 0 without a graph.
	EF int
	// Bytes is the size of the index in memory, and but for a header on disk.
	Bytes int64
}
