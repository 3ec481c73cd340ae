//go:build amd64 && !purego

package vec

func expShift(dst, x []float32, shift float32) float32 {
	if !Accelerated() {
		return expShiftGeneric(dst, x, shift)
	}
	var sum float32
	n := len(x) / eight
	if n > 0 {
		sum = expShiftAVX2(&dst[0], &x[0], n, shift)
	}
	if rest := x[n*eight:]; len(rest) > 0 {
		var buf [eight]float32
		copy(buf[:], rest)
		expShiftAVX2(&buf[0], &buf[0], 1, shift)
		copy(dst[n*eight:], buf[:])
		for _, v := range buf[:len(rest)] {
			sum += v
		}
	}
	return sum
}

func largest(x []float32) float32 {
	n := len(x) / eight
	if n == 0 || !Accelerated() {
		return largestGeneric(x)
	}
	m := largestAVX2(&x[0], n)
	for _, v := range x[n*eight:] {
		if v > m {
			m = v
		}
	}
	return m
}

func adam(w, grad, m, v []float32, s *AdamStep) int {
	n := len(w) / eight
	if n == 0 || !Accelerated() {
		return 0
	}
	adamAVX2(&w[0], &grad[0], &m[0], &v[0], n, s)
	return n * eight
}

//go:noescape
func expShiftAVX2(dst, x *float32, chunks int, shift float32) float32

//go:noescape
func largestAVX2(x *float32, chunks int) float32

//go:noescape
func adamAVX2(w, grad, m, v *float32, chunks int, s *AdamStep)
