package vec

import "fmt"

// RankAll writes to dst, for each element of x, how many of x are greater: 0 for the greatest, the same for equals. NaN is greater than
// nothing, nothing is greater than it. It compares each with each, which for some hundred elements is faster than to sort them.
func RankAll(dst []int32, x []float32) {
	if len(dst) != len(x) {
		panic(fmt.Sprintf("vec: %d ranks of %d elements", len(dst), len(x)))
	}
	done := rankAll(dst, x)
	rankAllGeneric(dst[done:], x[done:], x)
}

func rankAllGeneric(dst []int32, of, x []float32) {
	for i, v := range of {
		n := int32(0)
		for _, w := range x {
			if w > v {
				n++
			}
		}
		dst[i] = n
	}
}
