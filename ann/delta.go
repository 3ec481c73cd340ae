package ann

import (
	"math"

	"marquee/internal/vec"
)

// A delta is a store that grows at its end. It always has codes: every search scans all of it.

func emptyDelta(dim int, metric Metric) *store {
	return &store{metric: metric, dim: dim, stride: roundUp(dim, 8), codeStride: roundUp(dim, 32), codeScale: 1}
}

// shallow returns a store of the same rows, which can grow without those who scan this one seeing it: they look at the
// rows there are, and it writes beyond.
func (st *store) shallow() *store {
	return &store{
		metric: st.metric, n: st.n, dim: st.dim, stride: st.stride, rows: st.rows,
		codeStride: st.codeStride, codes: st.codes, codeScale: st.codeScale, codeNorms: st.codeNorms, codeSum: st.codeSum,
	}
}

// add appends a vector, which has been checked. Where it does not fit the scale of the codes, all are made anew to half the scale
// it needs.
func (st *store) add(vector []float32) {
	at := len(st.rows)
	st.rows = append(st.rows, make([]float32, st.stride)...)
	row := st.rows[at : at+st.dim]
	copy(row, vector)
	if st.metric == Cosine {
		normalize(row)
	}
	for j := range row {
		row[j] += 0 // see newStore
	}
	st.n++
	if largest := maxAbs(row, nil); largest*st.codeScale > 127 || st.n == 1 {
		st.codeScale = codeScale(min(2*largest, math.MaxFloat32))
		st.codes, st.codeNorms, st.codeSum = nil, nil, 0
		for i := range st.n {
			st.addCode(i)
		}
		return
	}
	st.addCode(st.n - 1)
}

func (st *store) addCode(i int) {
	at := len(st.codes)
	st.codes = append(st.codes, make([]int8, st.codeStride)...)
	encode(st.codes[at:], st.row(i), nil, st.codeScale)
	st.codeSum = max(st.codeSum, sumAbs(st.codes[at:]))
	if st.metric == L2 {
		c := st.codes[at : at+st.codeStride]
		st.codeNorms = append(st.codeNorms, float32(vec.DotInt8(c, c)))
	}
}

// floor is a bound on what a scan of the delta has to find: rows whose score is not above it are passed over.
type floor struct {
	ints   int32
	floats float32
}

var noFloor = floor{math.MinInt32, float32(math.Inf(-1))}

// floorAt is the bound for rows that must score at least score to be among the k nearest. In int8 it is lower by as much as
// rounding can move a product: with codes c = x*s + e, |e| <= 1/2, of row and query, by (|c|_1 + |c'|_1)/2 + dim/4, where
// |c|_1 is at most the largest among the rows; three times as much as the last covers what float32 rounds. By L2 in int8 there is no bound.
func (st *store) floorAt(s *scratch, score float32) floor {
	switch {
	case !s.useInt:
		return floor{floats: score - float32(math.Abs(float64(score)))*1e-5} // kernels differ in the order they add in
	case st.metric == L2:
		return noFloor
	}
	margin := float64(st.codeSum+sumAbs(s.codes))/2 + float64(st.dim)
	at := float64(score) * float64(st.codeScale) * float64(s.scale)
	at -= margin + math.Abs(at)*1e-5
	return floor{ints: int32(max(math.MinInt32, min(math.MaxInt32, math.Floor(at))))}
}

// sumAbs is the sum of the absolute codes.
func sumAbs(codes []int8) int {
	sum := 0
	for _, c := range codes {
		sum += max(int(c), -int(c))
	}
	return sum
}

// scanLive appends to dst the k nearest rows of the delta that are alive and whose ids the filter holds, by float32. With
// the k nearest of the base given, it leaves out rows that are farther than all of these.
func (st *liveState) scanLive(s *scratch, query []float32, k int, opts SearchOptions, base, dst []Neighbor) ([]Neighbor, error) {
	d := st.delta
	if err := d.setQuery(s, query, !opts.Float32); err != nil {
		return dst, err
	}
	bound := noFloor
	if len(base) >= k {
		bound = d.floorAt(s, base[k-1].Score)
	}
	want := k
	if s.useInt {
		want = max(2*k+4, opts.Rerank)
	}
	s.top.reset(want)
	for lo := 0; lo < d.n; lo += blockRows {
		above, integers := d.blockAbove(s, s, lo, min(lo+blockRows, d.n), bound)
		for _, i := range above {
			row := uint32(lo) + i
			if !st.inDelta.Has(row) || opts.Filter != nil && !opts.Filter.Has(st.ids[row]) {
				continue
			}
			key := keyOf(s.scores[i])
			if integers {
				key = keyOfInt(s.ints[i])
			}
			s.top.push(entry(key, row))
		}
	}
	s.takeTop()
	from := len(dst)
	dst, err := d.rank(s, k, dst)
	for i := range dst[from:] {
		dst[from+i].ID = st.ids[dst[from+i].ID]
	}
	return dst, err
}
