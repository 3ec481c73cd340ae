package ann

import (
	"syscall"
	"unsafe"
)

// hugePage is the size of a huge page on the machines this runs on.
const hugePage = 2 << 20

// makeHuge is make([]T, n) that asks the kernel to back the slice with huge pages. A walk touches rows all over an
// index, and with pages of 4 KB nearly every one of them misses the translation buffers; Go does not ask by itself, and
// most systems give huge pages only to who asks. Where the kernel declines, the slice is as good as any.
func makeHuge[T any](n int) []T {
	s := make([]T, n)
	if sizeOf(s) < 2*hugePage {
		return s
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), sizeOf(s))
	from := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % hugePage)
	to := from + (len(b)-from)/hugePage*hugePage
	_ = syscall.Madvise(b[from:to], syscall.MADV_HUGEPAGE) // advice
	return s
}
