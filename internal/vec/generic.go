package vec

// The loops in plain Go. They are what runs without AVX2, and what the assembly is tested against.

func dotGeneric(a, b []float32) float32 {
	// Four sums instead of one: they do not wait for each other, and they keep the rounding error small.
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func negL2Generic(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		d0, d1, d2, d3 := a[i]-b[i], a[i+1]-b[i+1], a[i+2]-b[i+2], a[i+3]-b[i+3]
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
	}
	for ; i < len(a); i++ {
		d := a[i] - b[i]
		s0 += d * d
	}
	return -((s0 + s1) + (s2 + s3))
}

func axpyGeneric(alpha float32, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += alpha * v
	}
}

func gemvGeneric(dst, m, x []float32) {
	for i := range dst {
		dst[i] = dotGeneric(x, m[i*len(x):(i+1)*len(x)])
	}
}

func negL2RowsGeneric(dst, m, x []float32) {
	for i := range dst {
		dst[i] = negL2Generic(x, m[i*len(x):(i+1)*len(x)])
	}
}

func gatherDotGeneric(dst, m, x []float32, ids []uint32, rows int) bool {
	for i, id := range ids {
		if int(id) >= rows {
			return false
		}
		dst[i] = dotGeneric(x, m[int(id)*len(x):(int(id)+1)*len(x)])
	}
	return true
}

func gatherNegL2Generic(dst, m, x []float32, ids []uint32, rows int) bool {
	for i, id := range ids {
		if int(id) >= rows {
			return false
		}
		dst[i] = negL2Generic(x, m[int(id)*len(x):(int(id)+1)*len(x)])
	}
	return true
}

func dotInt8Generic(a, b []int8) int32 {
	var s0, s1 int32
	b = b[:len(a)]
	i := 0
	for ; i+2 <= len(a); i += 2 {
		s0 += int32(a[i]) * int32(b[i])
		s1 += int32(a[i+1]) * int32(b[i+1])
	}
	if i < len(a) {
		s0 += int32(a[i]) * int32(b[i])
	}
	return s0 + s1
}

func gemvInt8Generic(dst []int32, m, x []int8) {
	for i := range dst {
		dst[i] = dotInt8Generic(x, m[i*len(x):(i+1)*len(x)])
	}
}

func gatherDotInt8Generic(dst []int32, m, x []int8, ids []uint32, rows int) bool {
	for i, id := range ids {
		if int(id) >= rows {
			return false
		}
		dst[i] = dotInt8Generic(x, m[int(id)*len(x):(int(id)+1)*len(x)])
	}
	return true
}

func aboveGeneric[T float32 | int32](dst []uint32, scores []T, threshold T) int {
	n := 0
	for i, s := range scores {
		if s > threshold {
			dst[n] = uint32(i)
			n++
		}
	}
	return n
}
