package als

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestRecencyWeighsByTheTitlesSince(t *testing.T) {
	// User 0 watched 2, 0, 3; user 1 watched 1 alone; user 2 watched nothing.
	m := matrix(t, [][]uint32{{2, 0, 3}, {1}, {}}, 4)
	m.Values[m.Indptr[0]] = 0.5 // title 0, the second watched
	before := slices.Clone(m.Values)
	got, err := Recency{HalfLife: 2, Floor: 0.2}.Weigh(m, [][]uint32{{3, 2, 1, 0, 3, 9}, {1}, {2}})
	if err != nil {
		t.Fatal(err)
	}
	// Row 0 by title: 0 has one since, 2 has two, 3 none: that it was met before does not count, nor do 1 and 9.
	want := []float64{0.5 * (0.2 + 0.8*math.Sqrt(0.5)), 0.2 + 0.8*0.5, 1, 1}
	for i, w := range want {
		if math.Abs(float64(got.Values[i])-w) > 1e-6 {
			t.Errorf("weight %d is %g, want %g", i, got.Values[i], w)
		}
	}
	if !slices.Equal(m.Values, before) {
		t.Error("the matrix given was changed")
	}
	if same, err := (Recency{}).Weigh(m, nil); err != nil || same != m {
		t.Errorf("without a half-life: %v, %v", same, err)
	}
}

func TestRecencyRefuses(t *testing.T) {
	m := matrix(t, [][]uint32{{0, 1}}, 2)
	for _, c := range []struct {
		r     Recency
		order [][]uint32
		says  string
		data  bool
	}{
		{Recency{HalfLife: -1}, nil, "half-life must be 0 or more titles, is -1", false},
		{Recency{HalfLife: math.NaN()}, nil, "is NaN", false},
		{Recency{HalfLife: 1, Floor: 1.5}, nil, "floor must be between 0 and 1, is 1.5", false},
		{Recency{HalfLife: 1}, nil, "order of 0 users is given and there are 1", true},
		{Recency{HalfLife: 1}, [][]uint32{{1}}, "1 of the 2 titles of user 0 have no place", true},
	} {
		_, err := c.r.Weigh(m, c.order)
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrData) != c.data {
			t.Errorf("%+v: %v, want %q", c.r, err, c.says)
		}
	}
}
