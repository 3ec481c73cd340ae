package ann

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// threadTime is the processor time of the calling thread.
func threadTime(b *testing.B) time.Duration {
	b.Helper()
	return usage(b, 1) // RUSAGE_THREAD
}

// processTime is that of all threads.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	return usage(b, syscall.RUSAGE_SELF)
}

func usage(b *testing.B, who int) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Error(err) // not Fatal: threads of their own call it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkChanged is what it costs the searches of a Live that a hundredth of it was added, deleted or updated since the last
// compaction: their processor time over that of one without changes, in the same minute, as the median over rounds in turn.
// Queries come one at a time.
func BenchmarkChanged(b *testing.B) {
	const n = 100_000
	m := newMixture(1, 64, 300, 0.6)
	vectors := m.zipfNorms(m.draw(n + n/100))
	queries := m.draw(512)
	base, err := Build(context.Background(), vectors[:n*64], 64, Options{Kind: HNSW, Int8: true})
	if err != nil {
		b.Fatal(err)
	}
	kinds := []string{"unchanged", "added", "deleted", "updated"}
	lives := make([]*Live, len(kinds))
	for i, kind := range kinds {
		lives[i] = newLive(base, nil, Options{Kind: HNSW, Int8: true}, Build)
		changes := make([]Change, 0, n/100)
		for j := range n / 100 {
			v := vectors[(n+j)*64 : (n+j+1)*64]
			switch kind {
			case "added":
				changes = append(changes, Change{ID: uint32(n + j), Vector: v})
			case "deleted":
				changes = append(changes, Change{ID: uint32(j * 97)})
			case "updated":
				changes = append(changes, Change{ID: uint32(j * 97), Vector: v})
			}
		}
		if err := lives[i].Apply(changes...); err != nil {
			b.Fatal(err)
		}
	}
	for _, opts := range []SearchOptions{{Force: HNSW, EF: 64}, {Force: HNSW}, {Force: HNSW, Float32: true}} {
		b.Run(fmt.Sprintf("ef=%d/int8=%v", opts.EF, !opts.Float32), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			dst := make([]Neighbor, 0, 10)
			rounds := make([][]time.Duration, len(lives))
			for b.Loop() {
				for i, l := range lives {
					start := threadTime(b)
					for q := 0; q < len(queries); q += 64 {
						if _, _, err := l.Search(queries[q:q+64], 10, opts, dst); err != nil {
							b.Fatal(err)
						}
					}
					rounds[i] = append(rounds[i], threadTime(b)-start)
				}
			}
			for i, kind := range kinds {
				ratios := make([]float64, len(rounds[i]))
				for j, took := range rounds[i] {
					ratios[j] = float64(took) / float64(rounds[0][j])
				}
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], kind)
			}
			slices.Sort(rounds[0])
			b.ReportMetric(float64(rounds[0][len(rounds[0])/2].Nanoseconds())/512, "cpu-ns/query")
		})
	}
}
