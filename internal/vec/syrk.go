package vec

// SyrkTile is the column granularity of Syrk: matrices handed to it have a side that is a multiple of SyrkTile.
const SyrkTile = 16

// syrkDepth bounds the rows taken in one pass, so that a block of packed rows stays in the first-level cache while
// every tile of the result reads it, and so that float32 sums are built from short partial sums.
const syrkDepth = 64

// SyrkPad returns n rounded up to a multiple of SyrkTile, the padded side of a symmetric n x n matrix.
func SyrkPad(n int) int { return (n + SyrkTile - 1) / SyrkTile * SyrkTile }

// PackScaled writes s*src into dst, zeroes the rest of dst, and adds q*s*src to acc. It is one row's share of building
// P (rows scaled by the square root of their weight) and of the right-hand side that goes with it. dst and acc are at
// least as long as src; dst is zeroed to its end.
func PackScaled(dst, acc, src []float32, s, q float32) {
	n := packScaled(dst[:len(src)], acc[:len(src)], src, s, q)
	for i := n; i < len(src); i++ {
		v := s * src[i]
		dst[i] = v
		acc[i] += q * v
	}
	clear(dst[len(src):])
}

// Syrk adds P^T P to the upper triangle of the n x n row-major matrix c, P being k x n row-major and n a multiple of
// SyrkTile. What lies below the diagonal of c is undefined afterwards. It panics on sizes that do not fit, which is a
// mistake of the caller's and never of the data.
func Syrk(c, p []float32, k, n int) {
	if n%SyrkTile != 0 || len(c) < n*n || len(p) < k*n {
		panic("vec: Syrk: sizes do not fit")
	}
	if k == 0 || n == 0 {
		return
	}
	depth := max(16, min(syrkDepth, 4096/n))
	for k0 := 0; k0 < k; k0 += depth {
		kb := min(depth, k-k0)
		rows := p[k0*n : (k0+kb)*n]
		for i := 0; i < n; i += 4 {
			j := i &^ (SyrkTile - 1)
			panel(c[i*n+j:], rows[i:], rows[j:], n, kb, (n-j)/SyrkTile, false)
		}
	}
}

// panelGeneric adds to (or, with sub, takes from) the 4 x 16*tiles block at c the product A^T B, where A is the k x 4
// block at a and B the k x 16*tiles block at b, all with row stride ld.
func panelGeneric(c, a, b []float32, ld, k, tiles int, sub bool) {
	sign := float32(1)
	if sub {
		sign = -1
	}
	for t := range tiles {
		var acc [4][SyrkTile]float32
		for q := range k {
			av := a[q*ld : q*ld+4 : q*ld+4]
			bv := (*[SyrkTile]float32)(b[q*ld+t*SyrkTile:])
			a0, a1, a2, a3 := av[0], av[1], av[2], av[3]
			for j, v := range bv {
				acc[0][j] += a0 * v
				acc[1][j] += a1 * v
				acc[2][j] += a2 * v
				acc[3][j] += a3 * v
			}
		}
		for r := range 4 {
			out := (*[SyrkTile]float32)(c[r*ld+t*SyrkTile:])
			for j := range out {
				out[j] += sign * acc[r][j]
			}
		}
	}
}
