//go:build !linux

package vec

// Large returns n zeros; on Linux, in huge pages.
func Large(n int) []float32 { return make([]float32, n) }
