package vec

// The side of a micro tile along the rows of the product, and how much is packed at a time: depth x gemmRows of A stays in the
// second-level cache while depth x micro-tile columns of B stay in the first.
const (
	gemmMR    = 8
	gemmDepth = 256
	gemmRows  = 128
	gemmCols  = 2048
	// gemmMaxNR bounds the micro tile's other side, see gemmNR.
	gemmMaxNR = 32
)

// Gemm multiplies matrices. It holds the packed blocks of its operands between calls, so that a multiplication allocates nothing once the
// largest has been seen. The zero value is ready; a Gemm serves one goroutine at a time.
//
// Every element of a product is the same sum in the same order whatever the number of rows and columns it is computed with: a product
// cut into pieces along rows or columns is, to the bit, the product. Among amd64's kernels the result is the same as well.
type Gemm struct {
	a, b []float32
	edge [gemmMR * gemmMaxNR]float32
}

// Operand is a row-major matrix with a row stride of Stride; where Transposed it stands for its transpose.
type Operand struct {
	Data       []float32
	Stride     int
	Transposed bool
}

// Mul sets the m x n matrix c, of row stride ldc, to alpha*A*B + beta*c, A being m x k and B k x n. With beta 0 what c held is not read.
// It panics on sizes that do not fit.
//
// After Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication (2008).
func (g *Gemm) Mul(m, n, k int, alpha float32, a, b Operand, beta float32, c []float32, ldc int) {
	a.check("A", m, k)
	b.check("B", k, n)
	Operand{Data: c, Stride: ldc}.check("C", m, n)
	if m == 0 || n == 0 {
		return
	}
	if beta != 1 && (beta != 0 || k == 0) {
		for i := range m {
			scaleRow(c[i*ldc:i*ldc+n], beta)
		}
	}
	add := beta != 0
	blocks := (k + gemmDepth - 1) / gemmDepth
	for p, left := 0, blocks; left > 0; left-- {
		depth := (k - p + left - 1) / left
		for j := 0; j < n; j += gemmCols {
			cols := min(gemmCols, n-j)
			g.b = packed(g.b, depth, cols, gemmNR())
			pack(g.b, b, p, j, depth, cols, gemmNR(), true)
			for i := 0; i < m; i += gemmRows {
				rows := min(gemmRows, m-i)
				g.a = packed(g.a, depth, rows, gemmMR)
				pack(g.a, a, p, i, depth, rows, gemmMR, false)
				g.block(rows, cols, depth, alpha, c[i*ldc+j:], ldc, add)
			}
		}
		p, add = p+depth, true
	}
}

func (o Operand) check(name string, rows, cols int) {
	if o.Transposed {
		rows, cols = cols, rows
	}
	if rows < 0 || cols < 0 || o.Stride < cols || rows > 0 && cols > 0 && len(o.Data) < (rows-1)*o.Stride+cols {
		panic("vec: Gemm: " + name + " does not fit")
	}
}

func scaleRow(row []float32, s float32) {
	if s == 0 {
		clear(row)
		return
	}
	for i := range row {
		row[i] *= s
	}
}

// packed makes room for n vectors of depth in panels of side.
func packed(buf []float32, depth, n, side int) []float32 {
	need := (n + side - 1) / side * side * depth
	if cap(buf) < need {
		return make([]float32, need)
	}
	return buf[:need]
}

// pack copies depth x n elements, from (p, j) on, into panels of side vectors: element q of vector v lies at q*side + v of its panel. A
// last panel that is not full is filled up with zeros. along says that the operand's rows are the depth (as B's are).
func pack(dst []float32, o Operand, p, j, depth, n, side int, along bool) {
	if along != o.Transposed { // the vectors lie side by side in memory
		packAlong(dst, o.Data[p*o.Stride+j:], o.Stride, depth, n, side)
		return
	}
	for v := 0; v < n; v += side {
		packAcross(dst[v*depth:(v+side)*depth], o.Data[(j+v)*o.Stride+p:], o.Stride, min(side, n-v), depth, side)
	}
}

// packAlong copies depth rows of n, of row stride ld, into panels.
func packAlong(dst, src []float32, ld, depth, n, side int) {
	for v := 0; v < n; v += side {
		panel, width := dst[v*depth:(v+side)*depth], min(side, n-v)
		if width == side && copyRows(panel, src[v:], ld, side, depth) {
			continue
		}
		for q := range depth {
			to := panel[q*side : (q+1)*side]
			clear(to[copy(to, src[q*ld+v:q*ld+v+width]):])
		}
	}
}

// packAcross transposes width rows of depth, of row stride ld, into a panel.
func packAcross(panel, src []float32, ld, width, depth, side int) {
	for v := 0; v < side; v += gemmMR {
		done := 0
		if v+gemmMR <= width {
			done = transposeTiles(panel[v:], src[v*ld:], ld, side, depth)
		}
		for q := done; q < depth; q++ {
			to := panel[q*side+v : q*side+v+gemmMR]
			for w := range to {
				if v+w < width {
					to[w] = src[(v+w)*ld+q]
				} else {
					to[w] = 0
				}
			}
		}
	}
}

// block multiplies the packed blocks.
func (g *Gemm) block(rows, cols, depth int, alpha float32, c []float32, ldc int, add bool) {
	nr := gemmNR()
	for j := 0; j < cols; j += nr {
		b := g.b[j*depth : (j+nr)*depth]
		for i := 0; i < rows; i += gemmMR {
			a := g.a[i*depth : (i+gemmMR)*depth]
			if i+gemmMR <= rows && j+nr <= cols {
				gemmTile(a, b, c[i*ldc+j:], ldc, depth, alpha, add)
				continue
			}
			gemmTile(a, b, g.edge[:], nr, depth, alpha, false)
			g.store(c[i*ldc+j:], ldc, min(gemmMR, rows-i), min(nr, cols-j), nr, add)
		}
	}
}

// store writes the part of a micro tile that is inside the product.
func (g *Gemm) store(c []float32, ldc, rows, cols, nr int, add bool) {
	for i := range rows {
		to, from := c[i*ldc:i*ldc+cols], g.edge[i*nr:i*nr+cols]
		if !add {
			copy(to, from)
			continue
		}
		for j, v := range from {
			to[j] += v
		}
	}
}

// gemmTileGeneric sets or adds to the gemmMR x nr tile at c alpha times the product of two panels.
func gemmTileGeneric(a, b, c []float32, ldc, depth, nr int, alpha float32, add bool) {
	for j := 0; j < nr; j += gemmMR {
		var acc [gemmMR][gemmMR]float32
		for q := range depth {
			av := (*[gemmMR]float32)(a[q*gemmMR:])
			bv := (*[gemmMR]float32)(b[q*nr+j:])
			for i, x := range av {
				row := &acc[i]
				for w, y := range bv {
					row[w] += x * y
				}
			}
		}
		for i := range acc {
			to := (*[gemmMR]float32)(c[i*ldc+j:])
			for w, v := range acc[i] {
				if add {
					to[w] += alpha * v
				} else {
					to[w] = alpha * v
				}
			}
		}
	}
}
