package model

import "testing"

func TestValue(t *testing.T) {
	for _, c := range []struct {
		strength            float32
		abandoned, disliked bool
		want                float32
	}{
		{1.5, false, false, 1.5},
		{0, false, false, 0},
		{0, true, false, abandonedValue},
		{1, true, false, 1}, // abandoned and liked all the same
		{0, true, true, dislikedValue},
		{2, false, true, dislikedValue},
	} {
		if got := Value(c.strength, c.abandoned, c.disliked); got != c.want {
			t.Errorf("Value(%v, %v, %v) = %v, want %v", c.strength, c.abandoned, c.disliked, got, c.want)
		}
	}
}
