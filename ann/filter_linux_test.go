package ann

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkFilters is the latency curve of filtered searches: by the share of eligible vectors, the processor time a query of
// what the index chooses, and of both it could choose, in turns within the same minute. The name says what it
// chose, the recall is of that.
func BenchmarkFilters(b *testing.B) {
	const n = 100_000
	vectors, queries := benchSet(b, n)
	ix := build(b, vectors, 64, Options{Kind: HNSW, Int8: true})
	for _, float := range []bool{false, true} {
		for _, permille := range []int{1, 3, 10, 30, 50, 100, 200, 300, 500, 800, 900, 950, 990, 1000} {
			filter := NewBitmap(n)
			for i := range uint32(n) {
				if int(i*2654435761>>16)%1000 < permille {
					filter.Set(i)
				}
			}
			opts := SearchOptions{Filter: filter, Float32: float}
			plan, err := ix.Plan(10, opts)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("int8=%v/eligible=%.1f%%/%v", !float, float64(permille)/10, plan.Strategy), func(b *testing.B) {
				filterPoint(b, ix, queries, opts, permille >= 30)
			})
		}
	}
}

// BenchmarkCrossover is BenchmarkFilters without a filter, by the number of vectors.
func BenchmarkCrossover(b *testing.B) {
	for _, n := range []int{4_000, 8_000, 12_000, 16_000, 24_000, 32_000, 48_000} {
		vectors, queries := benchSet(b, n)
		ix := build(b, vectors, 64, Options{Kind: HNSW, Int8: true})
		for _, float := range []bool{false, true} {
			b.Run(fmt.Sprintf("int8=%v/n=%d", !float, n), func(b *testing.B) {
				filterPoint(b, ix, queries, SearchOptions{Float32: float}, true)
			})
		}
	}
}

// filterPoint is one point of the curve; walks through few eligible vectors take tens of milliseconds.
func filterPoint(b *testing.B, ix Index, queries []float32, opts SearchOptions, walk bool) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ways := []SearchOptions{opts, opts, opts}
	names := []string{"chosen-ns", "exact-ns", "walk-ns"}
	ways[1].Force, ways[2].Force = Exact, HNSW
	if !walk {
		ways, names = ways[:2], names[:2]
	}
	dst := make([]Neighbor, 0, 10)
	spent := make([]time.Duration, len(ways)) // means: the kernel counts the time of a thread in steps too coarse for one round
	rounds := 0
	for b.Loop() {
		for i, way := range ways {
			start := threadTime(b)
			for q := 0; q < len(queries); q += 64 {
				if _, _, err := ix.Search(queries[q:q+64], 10, way, dst); err != nil {
					b.Fatal(err)
				}
			}
			spent[i] += threadTime(b) - start
		}
		rounds++
	}
	for i, name := range names {
		b.ReportMetric(float64(spent[i].Nanoseconds())/float64(rounds*len(queries)/64), name)
	}
	truth := SearchOptions{Filter: opts.Filter, Force: Exact, Float32: true}
	var found float64
	for q := 0; q < len(queries); q += 64 {
		found += recall(search(b, ix, queries[q:q+64], 10, truth), search(b, ix, queries[q:q+64], 10, opts))
	}
	b.ReportMetric(found/float64(len(queries)/64), "recall")
}
