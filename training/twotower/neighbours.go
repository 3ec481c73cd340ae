package twotower

import (
	"cmp"
	"math"
	"slices"

	"marquee/internal/sparse"
	"marquee/training/nn"
)

// coWatched are each title's k nearest by who watched both: of a title i a row with the titles j of the largest
//
//	sum over users who watched both of 1/sqrt(titles of the user), divided by sqrt(users of j)
//
// with weights in proportion that sum to 1; of equals the lower numbers. It is what linear graph filters smooth over (Shen et al., How Powerful
// is Graph Convolution for Recommendation?, 2021), cut to its largest entries. Work grows with the sum of squares of the histories' lengths.
func coWatched(team *nn.Team, d *Data, k int) *sparse.CSR {
	m, degree := normalised(d)
	users := m.Transpose() // titles x users
	rows := make([][]near, m.Cols)
	scratch := make([]*meeting, team.Workers())
	team.Rows(m.Cols, 64, func(worker, lo, hi int) {
		if scratch[worker] == nil {
			scratch[worker] = &meeting{sum: make([]float32, m.Cols)}
		}
		for i := lo; i < hi; i++ {
			rows[i] = scratch[worker].nearest(m, users, degree, uint32(i), k)
		}
	})
	out := &sparse.CSR{Rows: m.Cols, Cols: m.Cols, Indptr: make([]int64, m.Cols+1)}
	for i, row := range rows {
		var sum float32
		for _, n := range row {
			sum += n.weight
		}
		slices.SortFunc(row, func(a, b near) int { return cmp.Compare(a.title, b.title) })
		for _, n := range row {
			out.Indices, out.Values = append(out.Indices, n.title), append(out.Values, n.weight/sum)
		}
		out.Indptr[i+1] = int64(len(out.Indices))
	}
	return out
}

// near is a title beside another.
type near struct {
	title  uint32
	weight float32
}

// meeting is what one goroutine sums the titles met beside one up in.
type meeting struct {
	sum []float32 // zero between titles
	met []uint32
}

func (s *meeting) nearest(m, users *sparse.CSR, degree []float64, title uint32, k int) []near {
	s.met = s.met[:0]
	who, _ := users.Row(int(title))
	for _, u := range who {
		titles, _ := m.Row(int(u))
		w := float32(1 / math.Sqrt(float64(len(titles))))
		for _, j := range titles {
			if s.sum[j] == 0 {
				s.met = append(s.met, j)
			}
			s.sum[j] += w
		}
	}
	out := make([]near, 0, len(s.met))
	for _, j := range s.met {
		if j != title {
			out = append(out, near{j, s.sum[j] / float32(math.Sqrt(degree[j]))})
		}
		s.sum[j] = 0
	}
	slices.SortFunc(out, func(a, b near) int { return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.title, b.title)) })
	return slices.Clone(out[:min(k, len(out))])
}
