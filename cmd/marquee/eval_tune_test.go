package main

import (
	"strings"
	"testing"

	"marquee/eval/benchmark"
)

func TestPointsToTry(t *testing.T) {
	got, err := pointsToTry(alsSpace(&benchmark.Benchmark{}), []string{"unobserved_weight=0.01,regularization=0.003", "regularization=1e-2,unobserved_weight=1"})
	if err != nil || len(got) != 2 || got[0]["regularization"] != 0.003 || got[1]["unobserved_weight"] != 1 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "lambda=1,regularization=1", "regularization=x,unobserved_weight=1", "regularization=1"} {
		if _, err := pointsToTry(alsSpace(&benchmark.Benchmark{}), []string{bad}); err == nil || !strings.Contains(err.Error(), "unobserved_weight, regularization") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
