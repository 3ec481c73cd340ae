package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"marquee/eval/benchmark"
	"marquee/internal/sparse"
)

// load returns the interactions of a set by name.
func load(dir, name string) (*sparse.CSR, error) {
	var format, folder string
	switch name {
	case "gowalla":
		format, folder = "lightgcn", "gowalla"
	case "ml-1m":
		format, folder = "ncf", "ncf-ml-1m"
	case "zipf-10m":
		return zipf(200_000, 50_000, 10_000_000)
	case "zipf-1m":
		return zipf(40_000, 20_000, 1_000_000)
	default:
		return nil, fmt.Errorf("there is no set %q; there are gowalla, ml-1m, zipf-1m and zipf-10m", name)
	}
	b, err := benchmark.Load(format, filepath.Join(dir, folder))
	if err != nil {
		return nil, err
	}
	return b.Fit, nil
}

// zipf draws interactions whose titles' popularity falls as Zipf's law has it and whose users' activity is log-normal; a pair drawn twice
// counts once, so that some fewer come out than asked for.
func zipf(users, titles, n int) (*sparse.CSR, error) {
	rng := rand.New(rand.NewPCG(20260712, uint64(n)))
	activity := make([]float64, users)
	total := 0.0
	for u := range activity {
		activity[u] = math.Exp(rng.NormFloat64())
		total += activity[u]
	}
	// The density of rank r is about 1/(r + 50): a head of some hundred titles that no one title rules.
	const flat = 50.0
	spread := math.Log((float64(titles) + flat) / flat)
	row, col := make([]uint32, 0, n), make([]uint32, 0, n)
	for u, a := range activity {
		for range int(a / total * float64(n)) {
			rank := flat*math.Exp(rng.Float64()*spread) - flat
			row, col = append(row, uint32(u)), append(col, min(uint32(rank), uint32(titles-1)))
		}
	}
	return sparse.FromTriplets(users, titles, row, col, nil, sparse.Max)
}

// handOver leaves matrix and start where the peer reads them: little-endian numbers, a file each.
func handOver(dir string, m *sparse.CSR, start []float32) error {
	for name, values := range map[string]any{"indptr": m.Indptr, "indices": m.Indices, "items": start} {
		bytes, err := binary.Append(nil, binary.LittleEndian, values)
		if err != nil {
			return fmt.Errorf("hand %s over: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), bytes, 0o600); err != nil {
			return fmt.Errorf("hand %s over: %w", name, err)
		}
	}
	return nil
}

// factors reads n float32 that the peer left.
func factors(dir, name string, n int) ([]float32, error) {
	bytes, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("read the peer's factors: %w", err)
	}
	if len(bytes) != 4*n {
		return nil, fmt.Errorf("the peer's %s has %d bytes, want %d numbers", name, len(bytes), n)
	}
	out := make([]float32, n)
	if _, err := binary.Decode(bytes, binary.LittleEndian, out); err != nil {
		return nil, fmt.Errorf("read the peer's %s: %w", name, err)
	}
	return out, nil
}
