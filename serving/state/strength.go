package state

// The numbers are 10000ths, as in features/defs/touches.sql.

func playStrength(p *play) (strength int32, abandoned bool) {
	watched, duration := int64(p.watchedMS), int64(p.durationMS)
	var completion int64
	least := int64(60_000)
	switch {
	case duration > 0:
		completion = min(10_000, watched*10_000/duration)
		least = min(least, (duration+1)/2)
	case watched >= 60_000:
		completion = 5000
	}
	if watched < least || completion < 500 {
		return 0, true
	}
	s := completion
	switch {
	case duration == 0:
	case duration < 1_200_000:
		s = completion * completion / 10_000
	case duration >= 3_600_000:
		s = completion * (20_000 - completion) / 10_000
	}
	if p.autoplay {
		s /= 2
	}
	return int32(s), false
}

func titleStrength(t *title) float32 {
	if t.state&disliked != 0 {
		return 0
	}
	s := int64(t.strength)
	if t.state&liked != 0 {
		s += 10_000
	}
	if t.state&listed != 0 {
		s += 2_000
	}
	if t.clicked && t.plays == 0 {
		s += 500
	}
	return float32(min(100_000, s)) / 10_000
}
