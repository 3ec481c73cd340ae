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
	"marquee/internal/vec"
)

// sketch makes vectors that rank better than chance, so that a wrong mask or a wrong metric would show: two rounds of power iteration
// on the train matrix from a seeded random start, each vector for itself. Rows have unit length.
func sketch(train *sparse.CSR, dim int) (users, titles []float32) {
	rng := rand.New(rand.NewPCG(1, 1))
	titles = make([]float32, train.Cols*dim)
	for i := range titles {
		titles[i] = float32(rng.NormFloat64())
	}
	transposed := train.Transpose()
	for range 2 {
		users = spread(train, titles, dim)
		titles = spread(transposed, users, dim)
	}
	return users, titles
}

// spread gives each row of m the direction of the sum of its columns' vectors.
func spread(m *sparse.CSR, vectors []float32, dim int) []float32 {
	out := make([]float32, m.Rows*dim)
	for r := range m.Rows {
		row := out[r*dim : (r+1)*dim]
		cols, _ := m.Row(r)
		for _, c := range cols {
			vec.Axpy(1, vectors[int(c)*dim:(int(c)+1)*dim], row)
		}
		if norm := vec.Dot(row, row); norm > 0 {
			scale := float32(1 / math.Sqrt(float64(norm)))
			for i := range row {
				row[i] *= scale
			}
		}
	}
	return out
}

// write leaves vectors and split where both sides read them: arrays of little-endian numbers, a file each.
func write(o options, b *benchmark.Benchmark) error {
	users, titles := sketch(b.Fit, o.dim)
	h := b.Holdout
	var relUser, relTitle []uint32
	for i, u := range h.Users {
		for _, t := range h.Relevant[i] {
			relUser, relTitle = append(relUser, u), append(relTitle, t)
		}
	}
	for name, values := range map[string]any{
		"users": users, "titles": titles, "judged": h.Users, "train.indptr": h.Train.Indptr, "train.indices": h.Train.Indices,
		"relevant.user": relUser, "relevant.title": relTitle,
	} {
		bytes, err := binary.Append(nil, binary.LittleEndian, values)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(o.handover, name), bytes, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// vectors reads a table of float32.
func vectors(dir, name string) ([]float32, error) {
	bytes, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(bytes)/4)
	if _, err := binary.Decode(bytes, binary.LittleEndian, out); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(bytes)%4 != 0 {
		return nil, fmt.Errorf("%s: %d bytes are no whole number of float32", name, len(bytes))
	}
	return out, nil
}
