package twotower

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"marquee/internal/sparse"
	"marquee/internal/vec"
	"marquee/training/nn"
)

// scoreBatch is how many users or titles are made vectors of at a time.
const scoreBatch = 2048

// User is somebody to make a vector of.
type User struct {
	// Number is the user's in the training data; below 0 for somebody it did not have.
	Number  int
	History History
	// Context is the category of the moment; below 0 where unknown.
	Context int
}

// UserVectors returns the users' vectors, len(users) x Dim, each of unit length or 0. Ages are counted from now.
func (m *Model) UserVectors(users []User) ([]float32, error) {
	d := m.Config.Dim
	out := make([]float32, 0, len(users)*d)
	a, b := m.make, &m.batch
	rng := rand.New(rand.NewPCG(m.Config.Seed, 0x5c0))
	var keep []int
	for lo := 0; lo < len(users); lo += scoreBatch {
		a.begin(b)
		for i := lo; i < min(lo+scoreBatch, len(users)); i++ {
			u := &users[i]
			if err := m.checkUser(u); err != nil {
				return nil, fmt.Errorf("%w: user %d: %w", ErrData, i, err)
			}
			at := -1 // none of the history is left out
			if m.Config.Ordered {
				at = len(u.History.Titles)
			}
			keep = a.keep(keep[:0], &u.History, at, rng)
			a.user(b, number(u.Number), number(u.Context), &u.History, keep, 0)
		}
		m.towers.titleVectors(m.team, b)
		out = append(out, m.towers.userVectors(m.team, b, nil)...)
	}
	return out, nil
}

func number(n int) uint32 {
	if n < 0 {
		return nobody
	}
	return uint32(n)
}

func (m *Model) checkUser(u *User) error {
	if u.Number >= len(m.data.Histories) || u.Context >= max(m.data.Contexts, 1) {
		return fmt.Errorf("number %d of %d, context %d of %d", u.Number, len(m.data.Histories), u.Context, m.data.Contexts)
	}
	return u.History.validate(m.data.Titles, m.data.Contexts)
}

// TitleVectors returns the vectors of all titles of the training data, titles x Dim, each of the length
// that Config.PopularityPower says.
func (m *Model) TitleVectors() []float32 {
	d, n := m.Config.Dim, m.data.Titles
	out := make([]float32, 0, n*d)
	for lo := 0; lo < n; lo += scoreBatch {
		m.make.begin(&m.batch)
		for t := lo; t < min(lo+scoreBatch, n); t++ {
			m.make.at(&m.batch, uint32(t))
		}
		m.towers.titleVectors(m.team, &m.batch)
		out = append(out, m.towers.unit...)
		m.towers.lengthen(m.batch.titles, out[lo*d:])
	}
	return out
}

// NewTitleVectors returns the vectors of titles that training did not have, from their content alone: rows x Dim, of unit length, or 0
// where no term of theirs was met in training. The columns of content are those of the training data.
func (m *Model) NewTitleVectors(content *sparse.CSR) ([]float32, error) {
	if m.towers.terms == nil {
		return nil, fmt.Errorf("%w: the model was trained without content", ErrData)
	}
	if err := content.Validate(); err != nil {
		return nil, fmt.Errorf("%w: content: %w", ErrData, err)
	}
	if content.Cols != m.data.Content.Cols {
		return nil, fmt.Errorf("%w: content has %d terms, the model %d", ErrData, content.Cols, m.data.Content.Cols)
	}
	d := m.Config.Dim
	var bags nn.Bags
	bags.Reset()
	for r := range content.Rows {
		terms, weights := content.Row(r)
		for i, t := range terms {
			bags.Add(t, weights[i])
		}
		bags.Close()
	}
	out := make([]float32, content.Rows*d)
	bags.Pool(m.team, out, m.towers.terms.Value, d)
	nn.Normalize(m.team, out, out, make([]float32, content.Rows), content.Rows, d)
	return out, nil
}

// Validate is the mean NDCG@20 over the users held out, the titles that trained left out of the ranking.
func (t *trainer) Validate(ctx context.Context) (float64, error) {
	m, d := t.model(), t.cfg.Dim
	titles := m.TitleVectors()
	users := make([]User, len(t.validation))
	for i, v := range t.validation {
		users[i] = User{Number: v.user, History: t.data.Histories[v.user], Context: -1}
	}
	vectors, err := m.UserVectors(users)
	if err != nil {
		return 0, err
	}
	ndcg := make([]float64, len(users))
	n := t.data.Titles
	scores := make([]float32, validationBlock*n)
	for lo := 0; lo < len(users) && ctx.Err() == nil; lo += validationBlock {
		rows := min(validationBlock, len(users)-lo)
		t.team.Mul(rows, n, d, 1, vec.Operand{Data: vectors[lo*d:], Stride: d}, vec.Operand{Data: titles, Stride: d, Transposed: true}, 0, scores, n)
		t.team.Each(rows, func(_, r int) {
			own := scores[r*n : (r+1)*n]
			for _, id := range users[lo+r].History.Titles {
				own[id] = float32(math.Inf(-1))
			}
			ndcg[lo+r] = discounted(own, t.validation[lo+r].titles)
		})
	}
	var sum float64
	for _, v := range ndcg {
		sum += v
	}
	return sum / float64(len(users)), ctx.Err()
}

// validationCutoff is the length of the list that validation looks at, validationBlock the number of users scored at once.
const (
	validationCutoff = 20
	validationBlock  = 64
)

// discounted is the NDCG of the titles under the scores; a tie counts against them.
func discounted(scores []float32, titles []uint32) float64 {
	var gain, ideal float64
	for i, title := range titles {
		rank := -1 // the title itself is counted
		for _, s := range scores {
			if s >= scores[title] {
				rank++
			}
		}
		if rank < validationCutoff {
			gain += 1 / math.Log2(float64(rank)+2)
		}
		if i < validationCutoff {
			ideal += 1 / math.Log2(float64(i)+2)
		}
	}
	return gain / ideal
}
