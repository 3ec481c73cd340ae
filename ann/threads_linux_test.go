package ann

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// taken is the time a piece of work took: by the clock, and of the processor on one thread, or the mean over two.
type taken struct{ wall, cpu time.Duration }

// onThreads does work once on each of so many threads at a time.
func onThreads(b *testing.B, threads int, work func(thread int)) taken {
	b.Helper()
	cpu := make([]time.Duration, threads)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before := threadTime(b)
			work(i)
			cpu[i] = threadTime(b) - before
		})
	}
	wg.Wait()
	t := taken{wall: time.Since(start)}
	for _, c := range cpu {
		t.cpu += c / time.Duration(threads)
	}
	return t
}

// medianRatio is the median of two(i)/one(i) times scale over the rounds.
func medianRatio(one, two []taken, scale float64, of func(taken) time.Duration) float64 {
	r := make([]float64, len(one))
	for i := range r {
		r[i] = scale * float64(of(one[i])) / float64(of(two[i]))
	}
	slices.Sort(r)
	return r[len(r)/2]
}

// BenchmarkTwoThreads is how many times as much two threads do as one, by the clock, and by the processor time each needs for
// the same: the latter is the bound where other programs share the processors. Rounds of one and two take turns. Beside the
// searches are two probes of what the machine gives: arithmetic in registers, and reads all over 256 MB one after the other.
func BenchmarkTwoThreads(b *testing.B) {
	vectors, queries := benchSet(b, 100_000)
	ix := build(b, vectors, 64, Options{Kind: HNSW, Int8: true})
	chain := randomCycle(64 << 20)
	var sink [2]uint64
	search := func(opts SearchOptions) func(int) {
		return func(thread int) {
			dst := make([]Neighbor, 0, 10)
			for range 4 {
				for q := 0; q < len(queries); q += 64 {
					if _, _, err := ix.Search(queries[q:q+64], 10, opts, dst); err != nil {
						b.Error(err)
					}
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		work func(int)
	}{
		{"probe=registers", func(thread int) {
			x, y := uint64(thread), uint64(1)
			for range 20_000_000 {
				x, y = x*6364136223846793005+1442695040888963407, y*2862933555777941757+3037000493
			}
			sink[thread] = x + y
		}},
		{"probe=memory", func(thread int) {
			at := uint32(thread * 7919)
			for range 400_000 {
				at = chain[at]
			}
			sink[thread] = uint64(at)
		}},
		{"search=int8", search(SearchOptions{Force: HNSW})},
		{"search=float32", search(SearchOptions{Force: HNSW, Float32: true})},
		{"search=exact", search(SearchOptions{Force: Exact})},
	} {
		b.Run(c.name, func(b *testing.B) {
			var one, two []taken
			for b.Loop() {
				one = append(one, onThreads(b, 1, c.work))
				two = append(two, onThreads(b, 2, c.work))
			}
			b.ReportMetric(medianRatio(one, two, 2, func(t taken) time.Duration { return t.wall }), "by-clock")
			b.ReportMetric(medianRatio(one, two, 2, func(t taken) time.Duration { return t.cpu }), "by-cpu")
		})
	}
}

// randomCycle is a permutation of one cycle: following it reads all over memory, each place known only from the one before.
func randomCycle(n int) []uint32 {
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := n - 1; i > 0; i-- { // Sattolo's
		j := r.IntN(i)
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// BenchmarkTwoThreadBuild is BenchmarkTwoThreads for builds.
func BenchmarkTwoThreadBuild(b *testing.B) {
	vectors, _ := benchSet(b, 50_000)
	timed := func(threads int) taken {
		start, before := time.Now(), processTime(b)
		if _, err := Build(context.Background(), vectors, 64, Options{Kind: HNSW, Threads: threads}); err != nil {
			b.Fatal(err)
		}
		return taken{time.Since(start), (processTime(b) - before) / time.Duration(threads)}
	}
	var one, two []taken
	for b.Loop() {
		one, two = append(one, timed(1)), append(two, timed(2))
	}
	b.ReportMetric(medianRatio(one, two, 1, func(t taken) time.Duration { return t.wall }), "by-clock")
	b.ReportMetric(medianRatio(one, two, 1, func(t taken) time.Duration { return t.cpu }), "by-cpu")
}
