package judge

import (
	"fmt"
	"math"

	"marquee/internal/vec"
)

func floatBits(f float32) uint32 { return math.Float32bits(f) }

// Scorer scores all titles for some users, rows of the train matrix. It is called from several goroutines.
type Scorer interface {
	// Score sets scores[i*titles+t] for the i-th of users and every title t; -Inf means never to recommend.
	Score(users []uint32, scores []float32) error
}

// Func is a scorer that scores one user at a time.
type Func func(user uint32, scores []float32) error

// Score calls the function for each user.
func (f Func) Score(users []uint32, scores []float32) error {
	titles := len(scores) / len(users)
	for i, u := range users {
		if err := f(u, scores[i*titles:(i+1)*titles]); err != nil {
			return fmt.Errorf("score user %d: %w", u, err)
		}
	}
	return nil
}

// Constant scores titles alike for everybody: popularity.
type Constant []float32

// Score copies the scores for each user.
func (c Constant) Score(users []uint32, scores []float32) error {
	if len(c)*len(users) != len(scores) {
		return fmt.Errorf("%d scores for %d titles", len(c), len(scores)/len(users))
	}
	for i := range users {
		copy(scores[i*len(c):], c)
	}
	return nil
}

// Factors scores by the inner product of a user's and a title's vector. Users and Titles are row-major, Dim wide.
type Factors struct {
	Dim           int
	Users, Titles []float32
}

// tile is how many titles' vectors are multiplied with all users of a call before the next are: they stay in the second-level
// cache meanwhile.
const tileBytes = 128 << 10

// Score multiplies the users' vectors with the titles', a tile of titles at a time.
func (f Factors) Score(users []uint32, scores []float32) error {
	titles := len(scores) / len(users)
	if f.Dim < 1 || titles*f.Dim != len(f.Titles) {
		return fmt.Errorf("%d numbers are not %d titles' vectors of %d", len(f.Titles), titles, f.Dim)
	}
	tile := max(tileBytes/(4*f.Dim), 16)
	for lo := 0; lo < titles; lo += tile {
		hi := min(lo+tile, titles)
		block := f.Titles[lo*f.Dim : hi*f.Dim]
		for i, u := range users {
			at := int(u) * f.Dim
			if at+f.Dim > len(f.Users) {
				return fmt.Errorf("user %d of %d", u, len(f.Users)/f.Dim)
			}
			vec.Gemv(scores[i*titles+lo:i*titles+hi], block, f.Users[at:at+f.Dim])
		}
	}
	return nil
}
