package quality

import (
	"errors"
	"fmt"
	"time"
)

// Config says how far a day may be from the days before it.
type Config struct {
	// Sigmas is how many robust standard deviations from what is usual a day must be to fail a check; 1 to 100.
	Sigmas float64 `koanf:"sigmas"`
	// VolumeFactor is what the number of events may rise or fall by, as a factor, whatever the statistics say; 1 to 1000.
	// In a platform's first week, which knows no earlier day of the same weekday, it is its square.
	VolumeFactor float64 `koanf:"volume_factor"`
	// TypeFactor is the same for the share of each type of event; 1 to 1000.
	TypeFactor float64 `koanf:"type_factor"`
	// TypeShare is the share of all events below which a type is not judged, unless it is above it now or usually; 0 to 1.
	TypeShare float64 `koanf:"type_share"`
	// NullRise is how far the share of events without a field may rise, whatever the statistics say: 0.05 is five points.
	NullRise float64 `koanf:"null_rise"`
	// UnknownRise is the same for events about titles that the catalogue does not know.
	UnknownRise float64 `koanf:"unknown_rise"`
	// UnknownMost is the share of such events that fails the check even where there is no history to compare with; 1 for none.
	UnknownMost float64 `koanf:"unknown_most"`
	// DuplicateRise is how far the share of events that repeat another under another id may rise.
	DuplicateRise float64 `koanf:"duplicate_rise"`
	// DuplicateMost is the share of such events that fails the check even where there is no history; 1 for none.
	DuplicateMost float64 `koanf:"duplicate_most"`
	// LeastEvents is how many events a day must usually have, now and before, to be judged; 1 to 1000000000.
	LeastEvents uint64 `koanf:"least_events"`
	// LeastDays is how many earlier whole days with events there must be to compare with; 2 to 7.
	LeastDays int `koanf:"least_days"`
	// Every is how often a running service checks the last 24 hours and shows the result in its metrics; 0 is never.
	Every time.Duration `koanf:"every"`
}

// DefaultConfig refuses what is both improbable and large.
func DefaultConfig() Config {
	return Config{
		Sigmas: 5, VolumeFactor: 2, TypeFactor: 3, TypeShare: 0.005, NullRise: 0.05,
		UnknownRise: 0.02, UnknownMost: 0.5, DuplicateRise: 0.02, DuplicateMost: 0.25, LeastEvents: 200, LeastDays: 3,
		Every: time.Hour,
	}
}

// Validate reports every field out of its range.
func (c Config) Validate() error {
	var errs []error
	check := func(field string, v, least, most float64) {
		if !(v >= least && v <= most) {
			errs = append(errs, fmt.Errorf("features.quality.%s must be between %g and %g, is %g", field, least, most, v))
		}
	}
	check("sigmas", c.Sigmas, 1, 100)
	check("volume_factor", c.VolumeFactor, 1, 1000)
	check("type_factor", c.TypeFactor, 1, 1000)
	check("type_share", c.TypeShare, 0, 1)
	check("null_rise", c.NullRise, 0, 1)
	check("unknown_rise", c.UnknownRise, 0, 1)
	check("unknown_most", c.UnknownMost, 0, 1)
	check("duplicate_rise", c.DuplicateRise, 0, 1)
	check("duplicate_most", c.DuplicateMost, 0, 1)
	check("least_events", float64(c.LeastEvents), 1, 1e9)
	check("least_days", float64(c.LeastDays), 2, referenceDays)
	if c.Every != 0 && (c.Every < time.Minute || c.Every > 30*24*time.Hour) {
		errs = append(errs, fmt.Errorf("features.quality.every must be 0 or between 1m and 720h, is %s", c.Every))
	}
	return errors.Join(errs...)
}
