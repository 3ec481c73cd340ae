package nn

import "marquee/internal/vec"

// RowLoss is a loss of one row of scores. It replaces the scores of candidates by the loss's derivatives by them, and returns the loss and
// its derivative by own, the score of the row's own title where that is not among the candidates. It is called for different rows at once.
type RowLoss func(row int, own float32, scores []float32) (loss float64, ownGrad float32)

// Tiles scores rows against candidates and takes a loss and its gradients, some rows at a time: never is more than a tile of the
// rows x candidates matrix in memory.
type Tiles struct {
	tile, own []float32
	losses    []float64
}

// Scoring is what Tiles works on. All vectors have length Dim.
type Scoring struct {
	Dim   int
	Scale float32 // a score is Scale times the product of two vectors
	// Rows are n x Dim; their gradient is set. Own, where not nil, is n x Dim, a row's own title each, whose gradient is set.
	Rows, RowsGrad []float32
	Own, OwnGrad   []float32
	// Candidates are k x Dim; to their gradient is added.
	Candidates, CandidatesGrad []float32
}

// tileSize is about how many scores are in memory at once: few enough for the last-level cache.
const tileSize = 1 << 21

// Run returns the sum of the rows' losses.
func (s *Tiles) Run(t *Team, job Scoring, loss RowLoss) float64 {
	d := job.Dim
	n, k := len(job.Rows)/d, len(job.Candidates)/d
	height := min(n, max(16, min(1024, tileSize/max(k, 1))))
	s.tile, s.own, s.losses = grow(s.tile, height*k), grow(s.own, height), grow(s.losses, n)
	for lo := 0; lo < n; lo += height {
		rows := min(height, n-lo)
		users := job.Rows[lo*d : (lo+rows)*d]
		t.Mul(rows, k, d, job.Scale, dense(users, d), transposed(job.Candidates, d), 0, s.tile, k)
		t.Rows(rows, 16, func(_, from, to int) {
			for r := from; r < to; r++ {
				i := lo + r
				var own float32
				if job.Own != nil {
					own = job.Scale * vec.Dot(job.Rows[i*d:(i+1)*d], job.Own[i*d:(i+1)*d])
				}
				s.losses[i], s.own[r] = loss(i, own, s.tile[r*k:(r+1)*k])
			}
		})
		t.Mul(rows, d, k, job.Scale, dense(s.tile, k), dense(job.Candidates, d), 0, job.RowsGrad[lo*d:], d)
		t.Mul(k, d, rows, job.Scale, transposed(s.tile, k), dense(users, d), 1, job.CandidatesGrad, d)
		if job.Own != nil {
			for r := range rows {
				i, g := lo+r, job.Scale*s.own[r]
				vec.Axpy(g, job.Own[i*d:(i+1)*d], job.RowsGrad[i*d:(i+1)*d])
				to := job.OwnGrad[i*d : (i+1)*d]
				clear(to)
				vec.Axpy(g, job.Rows[i*d:(i+1)*d], to)
			}
		}
	}
	var sum float64
	for _, l := range s.losses {
		sum += l
	}
	return sum
}
