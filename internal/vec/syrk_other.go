//go:build !amd64 || purego

package vec

func panel(c, a, b []float32, ld, k, tiles int, sub bool) { panelGeneric(c, a, b, ld, k, tiles, sub) }

func packScaled(_, _, _ []float32, _, _ float32) int { return 0 }
