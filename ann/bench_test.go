package ann

import (
	"context"
	"fmt"
	"testing"
)

// benchSet is what the benchmarks search: item factors of lengths as popularity makes them, 64 dimensions.
func benchSet(b *testing.B, n int) (vectors, queries []float32) {
	b.Helper()
	m := newMixture(1, 64, 300, 0.6)
	return m.zipfNorms(m.draw(n)), m.draw(256)
}

// BenchmarkSearch compares exact search and walk on either side of the crossovers, and reports the walk's recall.
func BenchmarkSearch(b *testing.B) {
	for _, n := range []int{4_000, 8_000, 16_000, 32_000, 100_000} {
		vectors, queries := benchSet(b, n)
		ix := build(b, vectors, 64, Options{Kind: HNSW, Int8: true})
		for _, opts := range []SearchOptions{{Force: Exact, Float32: true}, {Force: Exact}, {Force: HNSW, Float32: true}, {Force: HNSW}} {
			b.Run(fmt.Sprintf("n=%d/%v/int8=%v", n, opts.Force, !opts.Float32), func(b *testing.B) {
				benchSearch(b, ix, queries, opts)
			})
		}
	}
}

func benchSearch(b *testing.B, ix Index, queries []float32, opts SearchOptions) {
	nq := len(queries) / ix.Dim()
	var found float64
	for i := range nq {
		q := queries[i*ix.Dim() : (i+1)*ix.Dim()]
		truth := search(b, ix, q, 10, SearchOptions{Filter: opts.Filter, Force: Exact, Float32: true})
		found += recall(truth, search(b, ix, q, 10, opts))
	}
	dst := make([]Neighbor, 0, 10)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, _, err := ix.Search(queries[i*ix.Dim():(i+1)*ix.Dim()], 10, opts, dst); err != nil {
			b.Fatal(err)
		}
		i = (i + 1) % nq
	}
	b.ReportMetric(found/float64(nq), "recall@10")
}

// BenchmarkParallelSearch is one index searched by GOMAXPROCS goroutines.
func BenchmarkParallelSearch(b *testing.B) {
	vectors, queries := benchSet(b, 100_000)
	ix := build(b, vectors, 64, Options{Kind: HNSW, Int8: true})
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		dst := make([]Neighbor, 0, 10)
		for i := 0; pb.Next(); i = (i + 1) % 256 {
			if _, _, err := ix.Search(queries[i*64:(i+1)*64], 10, SearchOptions{Force: HNSW}, dst); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBatch is 256 queries in one call on one thread; ns/query is the figure to compare.
func BenchmarkBatch(b *testing.B) {
	vectors, queries := benchSet(b, 100_000)
	ix := build(b, vectors, 64, Options{Kind: HNSW, Int8: true})
	for _, opts := range []SearchOptions{{Force: Exact, Float32: true, Threads: 1}, {Force: Exact, Threads: 1}, {Force: HNSW, Threads: 1}} {
		b.Run(fmt.Sprintf("%v/int8=%v", opts.Force, !opts.Float32), func(b *testing.B) {
			var dst [][]Neighbor
			for b.Loop() {
				var err error
				if dst, err = ix.SearchBatch(context.Background(), queries, 10, opts, dst); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/query")
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	vectors, _ := benchSet(b, 20_000)
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("n=20000/threads=%d", threads), func(b *testing.B) {
			for b.Loop() {
				build(b, vectors, 64, Options{Kind: HNSW, Threads: threads})
			}
		})
	}
}
