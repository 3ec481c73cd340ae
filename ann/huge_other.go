//go:build !linux

package ann

// makeHuge is make([]T, n); see the one for Linux.
func makeHuge[T any](n int) []T { return make([]T, n) }
