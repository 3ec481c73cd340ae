package ann

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"marquee/internal/vec"
)

// none fills the unused places of a row of links, and stands for a row that is not there.
const none = ^uint32(0)

// blockRows is how many vectors are scored in one call of a kernel: 64 KB of them at 64 dimensions, which stay in the
// second-level cache while a batch of queries goes over them.
const blockRows = 256

// store holds the vectors of an index and everything that ranks them: row-major, each row padded with zeros to whole
// registers, so that the kernels need no tail and padding adds nothing to a product.
type store struct {
	metric Metric
	n, dim int

	stride int // of rows: dim rounded up to a multiple of 8
	rows   []float32

	codeStride int       // of codes: dim rounded up to a multiple of 32
	codes      []int8    // round((row - center) * codeScale), in [-127, 127]; nil without int8
	codeScale  float32   // 0 without int8
	center     []float32 // of length dim; nil unless codes are of metric L2, where moving everything changes nothing
	codeNorms  []float32 // squared length of each row of codes, for L2
	codeSum    int       // of a delta: the largest sum of the absolute codes of a row

	// A graph puts vectors that are near each other near in memory: ids[row] is the id of a row, rowOf[id] the row of an
	// id. Both are nil when they are the same.
	ids, rowOf []uint32

	scratch sync.Pool
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// newStore copies n = len(vectors)/dim vectors, which have been checked.
func newStore(vectors []float32, dim int, metric Metric) *store {
	st := &store{metric: metric, n: len(vectors) / dim, dim: dim, stride: roundUp(dim, 8), codeStride: roundUp(dim, 32)}
	st.rows = makeHuge[float32](st.n * st.stride)
	for i := range st.n {
		row := st.rows[i*st.stride : i*st.stride+dim]
		copy(row, vectors[i*dim:])
		if metric == Cosine {
			normalize(row)
		}
		for j := range row {
			row[j] += 0 // makes -0 the other zero: what is equal shall be the same bytes
		}
	}
	return st
}

// normalize scales v to length 1, in place; a zero vector stays what it is.
func normalize(v []float32) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
}

// quantize makes the int8 codes: one scale for all vectors, the one that maps the largest component to 127.
//
// One scale for all, rather than one for each vector, is what the inner product wants: rounding moves every score by
// about the same amount, and the short vectors, which lose most of their digits, are those that score low anyway.
func (st *store) quantize() {
	if st.metric == L2 {
		st.center = st.mean()
	}
	var largest float32
	for i := range st.n {
		largest = max(largest, maxAbs(st.row(i), st.center))
	}
	st.codeScale = codeScale(largest)
	st.codes = makeHuge[int8](st.n * st.codeStride)
	for i := range st.n {
		encode(st.codes[i*st.codeStride:], st.row(i), st.center, st.codeScale)
	}
	if st.metric == L2 {
		st.codeNorms = make([]float32, st.n)
		for i := range st.n {
			c := st.codes[i*st.codeStride : (i+1)*st.codeStride]
			st.codeNorms[i] = float32(vec.DotInt8(c, c))
		}
	}
}

// int8s reports whether the vectors have codes.
func (st *store) int8s() bool { return st.codeScale != 0 }

// row returns the components of a row, without the padding.
func (st *store) row(i int) []float32 { return st.rows[i*st.stride : i*st.stride+st.dim] }

func (st *store) mean() []float32 {
	sum := make([]float64, st.dim)
	for i := range st.n {
		for j, x := range st.row(i) {
			sum[j] += float64(x)
		}
	}
	mean := make([]float32, st.dim)
	for j, s := range sum {
		mean[j] = float32(s / float64(max(st.n, 1)))
	}
	return mean
}

// maxAbs returns the largest absolute component of v - center; a nil center is 0.
func maxAbs(v, center []float32) float32 {
	var m float32
	for j, x := range v {
		if center != nil {
			x -= center[j]
		}
		m = max(m, x, -x)
	}
	return m
}

// codeScale returns the scale that maps largest to 127. Where it would not be a finite float32, everything is as good
// as zero.
func codeScale(largest float32) float32 {
	if s := 127 / largest; s <= math.MaxFloat32 {
		return s
	}
	return 1
}

// encode writes round((v - center) * scale) to dst, clipped to [-127, 127].
func encode(dst []int8, v, center []float32, scale float32) {
	dst = dst[:len(v)]
	for j, x := range v {
		if center != nil {
			x -= center[j]
		}
		x = max(-127, min(127, x*scale))
		half := math.Float32frombits(math.Float32bits(0.5) | math.Float32bits(x)&(1<<31)) // of x's sign
		dst[j] = int8(x + half)
	}
}

// scratch is what one search needs, kept between searches.
type scratch struct {
	query  []float32 // padded to stride
	codes  []int8    // padded to codeStride
	scale  float32   // of codes
	norm   float32   // weight of a row's code norm against its product with the codes, for L2
	useInt bool      // score with the codes

	block  []uint32 // rows to score, up to blockRows
	scores []float32
	ints   []int32
	keys   []uint32
	above  []uint32

	top        topK
	found      []uint32 // rows found, before they are ranked
	ranked     []uint64
	candidates []uint64 // what the pool is made of
	frontier   maxHeap
	visited    []uint64
	scored     int

	at progress
}

func (st *store) getScratch() *scratch {
	if s, ok := st.scratch.Get().(*scratch); ok {
		return s
	}
	return st.newScratch()
}

func (st *store) newScratch() *scratch {
	return &scratch{
		query: make([]float32, st.stride), codes: make([]int8, st.codeStride),
		block: make([]uint32, blockRows), scores: make([]float32, blockRows), ints: make([]int32, blockRows),
		keys: make([]uint32, blockRows), above: make([]uint32, blockRows),
		visited: make([]uint64, bitmapWords(st.n)),
	}
}

// setQuery checks the query and prepares it for scoring.
func (st *store) setQuery(s *scratch, query []float32, useInt bool) error {
	if len(query) != st.dim {
		return fmt.Errorf("ann: query of %d components for an index of dimension %d", len(query), st.dim)
	}
	if err := checkVector(query); err != nil {
		return fmt.Errorf("ann: query: %w", err)
	}
	q := s.query[:st.dim]
	copy(q, query)
	if st.metric == Cosine {
		normalize(q)
	}
	s.scored, s.useInt = 0, useInt
	if useInt {
		scale := codeScale(maxAbs(q, st.center))
		s.scale = scale
		encode(s.codes, q, st.center, scale)
		// With x = row codes / codeScale and q = query codes / scale, -|x - q|^2 orders as x.q - |x|^2/2 does, and that,
		// times codeScale * scale, is (codes . codes) - |row codes|^2 * scale / (2 * codeScale).
		s.norm = min(scale/(2*st.codeScale), math.MaxFloat32/(127*127*MaxDim))
	}
	return nil
}

// checkVector says what makes v unfit to be ranked.
func checkVector(v []float32) error {
	var sum float32
	for _, x := range v {
		sum += x * x
	}
	if sum <= maxSquaredNorm { // false for NaN as well
		return nil
	}
	for j, x := range v {
		if x-x != 0 {
			return fmt.Errorf("component %d is %v; all must be finite", j, x)
		}
	}
	return fmt.Errorf("its squared length exceeds %g; scale the vectors down", float64(maxSquaredNorm))
}

// score sets s.keys[i] to how near rows[i] is to the query. It reports false if a row is out of range.
func (st *store) score(s *scratch, rows []uint32) bool {
	n := len(rows)
	s.scored += n
	keys := s.keys[:n]
	if !s.useInt {
		out := s.scores[:n]
		ok := st.gather(out, s.query, rows)
		for i, f := range out {
			keys[i] = keyOf(f)
		}
		return ok
	}
	ints := s.ints[:n]
	ok := vec.GatherDotInt8(ints, st.codes, s.codes, rows)
	switch {
	case !ok:
	case st.codeNorms == nil:
		for i, v := range ints {
			keys[i] = keyOfInt(v)
		}
	default:
		for i, v := range ints {
			keys[i] = keyOf(float32(v) - st.codeNorms[rows[i]]*s.norm)
		}
	}
	return ok
}

// gather scores rows against q, a padded vector, in float32.
func (st *store) gather(dst, q []float32, rows []uint32) bool {
	if st.metric == L2 {
		return vec.GatherNegL2(dst, st.rows, q, rows)
	}
	return vec.GatherDot(dst, st.rows, q, rows)
}

// id returns the id of a row in range; none if the file it came from is corrupt.
func (st *store) id(row uint32) uint32 {
	if st.ids == nil {
		return row
	}
	id := st.ids[row]
	if int(id) >= st.n {
		return none
	}
	return id
}

// rank appends to dst the k nearest of the rows in s.found, which must be in range, by their float32 scores.
func (st *store) rank(s *scratch, k int, dst []Neighbor) ([]Neighbor, error) {
	s.ranked = s.ranked[:0]
	for rest := s.found; len(rest) > 0; {
		rows := rest[:min(len(rest), blockRows)]
		rest = rest[len(rows):]
		if !st.gather(s.scores[:len(rows)], s.query, rows) {
			return dst, fmt.Errorf("ann: %w: row out of range", ErrCorrupt)
		}
		for i, row := range rows {
			id := st.id(row)
			if id == none {
				return dst, fmt.Errorf("ann: %w: id out of range", ErrCorrupt)
			}
			s.ranked = append(s.ranked, uint64(^keyOf(s.scores[i]))<<32|uint64(id))
		}
	}
	slices.Sort(s.ranked)
	for _, e := range s.ranked[:min(k, len(s.ranked))] {
		dst = append(dst, Neighbor{ID: uint32(e), Score: scoreOf(^uint32(e >> 32))})
	}
	return dst, nil
}
