//go:build !amd64 || purego

package vec

func expShift(dst, x []float32, shift float32) float32 { return expShiftGeneric(dst, x, shift) }
func largest(x []float32) float32                      { return largestGeneric(x) }
func adam(_, _, _, _ []float32, _ *AdamStep) int       { return 0 }
