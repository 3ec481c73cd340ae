package vec

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a huge page on amd64 and on arm64 with 4 KiB pages; where it is another, the advice is rounded by the kernel.
const hugePage = 2 << 20

// Large returns n zeros in memory that the kernel has been asked to hold in huge pages: rows gathered from far apart then cost no walk of
// the page table each.
func Large(n int) []float32 {
	v := make([]float32, n)
	if n*4 < 2*hugePage {
		return v
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), n*4)
	skip := -uintptr(unsafe.Pointer(&v[0])) % hugePage
	bytes = bytes[skip:]
	// A kernel without huge pages refuses. The numbers are the same then, and only slower to come by.
	_ = unix.Madvise(bytes[:len(bytes)&^(hugePage-1)], unix.MADV_HUGEPAGE)
	return v
}
