package state

import "marquee/features/online"

// What a like, a list entry and a click without a play add, as features/online has it; a test holds the state equal to
// that package on random histories.
const (
	likeBonus  = online.One
	listBonus  = 2000
	clickBonus = 500
)

func playStrength(p *play) (strength int32, abandoned bool) {
	return online.PlayStrength(int64(p.watchedMS), int64(p.durationMS), p.autoplay)
}

// titleStrength is 1 for one full watch.
func titleStrength(t *title) float32 {
	if t.state&disliked != 0 {
		return 0
	}
	s := int64(t.strength)
	if t.state&liked != 0 {
		s += likeBonus
	}
	if t.state&listed != 0 {
		s += listBonus
	}
	if t.clicked && t.plays == 0 {
		s += clickBonus
	}
	return float32(min(online.MaxStrength, s)) / online.One
}
