// Package online computes feature values at request time, from a profile's live history: what the SQL of the parent
// package computes offline, to the last digit. Strengths are whole 10000ths and times microseconds since the Unix epoch, so
// there is no rounding to differ by; the parent's tests hold the two equal on random histories.
//
// The definitions are the SQL's (features/defs/touches.sql and sessions.sql); this package only mirrors them.
package online

import (
	"math"
	"time"
)

const (
	// One is a strength of 1: one full watch the viewer asked for. Strengths are in 10000ths.
	One = 10000
	// MaxStrength is the most a title's strength for a profile can be.
	MaxStrength = 10 * One
	// MaxSequence is how many entries of a profile's history are kept, the latest.
	MaxSequence = 500
	// SessionGap is the longest time between two events of one session.
	SessionGap = 30 * time.Minute

	likeBonus  = One
	listBonus  = 2000
	clickBonus = 500

	minWatchedMS    = 60_000    // under a minute watched is abandoned
	minCompletion   = One / 20  // and so is under 5%
	unknownLength   = One / 2   // the completion of a play whose length nobody knows
	shortMS         = 1_200_000 // under 20 minutes: an episode of a short series, a clip
	mediumMS        = 3_600_000 // under an hour: an episode
	autoplayDivisor = 2
)

// Completion returns how much of its length was watched, in 10000ths, at most One. With the length unknown (0) it is half
// from 60 s on.
func Completion(watchedMS, durationMS int64) int64 {
	switch {
	case durationMS > 0:
		return min(One, watchedMS*One/durationMS)
	case watchedMS >= minWatchedMS:
		return unknownLength
	default:
		return 0
	}
}

// PlayStrength returns the strength of one play, 0 to One: watchedMS is the maximum its events report, durationMS the
// longest length they report (0 for unknown), autoplay whether any says so. It is monotone in watchedMS. An abandoned play
// has strength 0.
func PlayStrength(watchedMS, durationMS int64, autoplay bool) (strength int32, abandoned bool) {
	c := Completion(watchedMS, durationMS)
	least := int64(minWatchedMS)
	if durationMS > 0 {
		least = min(least, (durationMS+1)/2)
	}
	if watchedMS < least || c < minCompletion {
		return 0, true
	}
	switch {
	case durationMS == 0:
	case durationMS < shortMS:
		c = c * c / One
	case durationMS < mediumMS:
	default:
		c = c * (2*One - c) / One
	}
	if autoplay {
		c /= autoplayDivisor
	}
	return int32(c), false
}

// Decay returns the weight of what happened age microseconds ago, in millionths: 2^(-age/halfLife), with the exponent
// rounded down to a 64th. A negative age weighs as none. The half-life must be at least 64 microseconds.
func Decay(age int64, halfLife time.Duration) int64 {
	steps := max(age, 0) / (halfLife.Microseconds() / 64)
	whole := steps >> 6
	if whole > 63 {
		return 0
	}
	// The SQL has this as a table of 64 numbers; a test compares them.
	return int64(math.Round(1e6*math.Exp2(-float64(steps&63)/64))) >> whole
}

// Half-lives of the decayed popularities in title_stats.
const (
	WeekHalfLife  = 7 * 24 * time.Hour
	MonthHalfLife = 30 * 24 * time.Hour
)
