package model

// What a profile turned down, in units of one full watch: such titles pull towards a score of 0, where a watch pulls
// towards 1.
const (
	dislikedValue  = -1
	abandonedValue = -0.25
)

// Value is what an interaction counts for, in training and when a profile is folded in: its watch strength, or a value
// below 0 for a title that was disliked or that was abandoned at every play. 0 says nothing and is left out.
func Value(strength float32, abandoned, disliked bool) float32 {
	switch {
	case disliked:
		return dislikedValue
	case abandoned && strength == 0:
		return abandonedValue
	}
	return strength
}
