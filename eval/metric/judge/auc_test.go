package judge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"marquee/eval/metric"
)

func TestAUCIsTheMannWhitneyStatistic(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		scores := make([]float32, 2+random.IntN(60))
		var relevant []uint32
		var wide []float64
		var positive []bool
		for i := range scores {
			// Few values, so that there are ties.
			scores[i] = float32(random.IntN(12)) - 6
			is := random.IntN(4) == 0
			if is {
				relevant = append(relevant, uint32(i))
			} else if random.IntN(5) == 0 {
				scores[i] = float32(math.Inf(-1))
				continue
			}
			wide, positive = append(wide, float64(scores[i])), append(positive, is)
		}
		got, _ := auc(scores, relevant, nil)
		want, err := metric.AUC(wide, positive)
		if err != nil {
			want = 0.5
		}
		if math.Abs(got-want) > 1e-12 {
			t.Fatalf("%v with %v relevant: %v, want %v", scores, relevant, got, want)
		}
	}
}

func TestAMaskedRelevantTitleLosesEveryPair(t *testing.T) {
	if got, _ := auc([]float32{1, float32(math.Inf(-1)), 0}, []uint32{0, 1}, nil); got != 0.5 {
		t.Errorf("one of two relevant titles above the third, the other masked: %v", got)
	}
}

func TestJudgeTakesAUCWhereAsked(t *testing.T) {
	h, s := world(t, 40, 30, 5), noise(5, 6)
	without, err := Judge(t.Context(), h, s, Options{Cutoffs: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := without.Means["auc"]; ok {
		t.Error("AUC was taken unasked")
	}
	with, err := Judge(t.Context(), h, s, Options{Cutoffs: []int{2}, AUC: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(with.PerUser["auc"]) != len(h.Users) || with.Means["auc"] != metric.Mean(with.PerUser["auc"]) || with.Means["ndcg@2"] != without.Means["ndcg@2"] {
		t.Errorf("%v, without %v", with.Means, without.Means)
	}
	if slices.Max(with.PerUser["auc"]) > 1 || slices.Min(with.PerUser["auc"]) < 0 {
		t.Errorf("%v", with.PerUser["auc"])
	}
}
