package quality

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// habit is how a made-up platform varies.
type habit struct {
	perDay float64
	// weekend multiplies the events of two days in seven; noise is the relative standard deviation of a day's mean; growth is a
	// day's factor.
	weekend, noise, growth float64
	age                    int
}

// platform draws the daily counts of a platform as daily.sql would give them, day 0 being a given weekday.
func platform(rng *rand.Rand, h habit, weekday int) *daily {
	d := &daily{days: map[measure][]Day{}, any: true, history: min(h.age, windowDays), catalogue: 1}
	put := func(kind, name string, day int, v Day) {
		m := measure{kind, name}
		if d.days[m] == nil {
			d.days[m] = make([]Day, windowDays+1)
		}
		d.days[m][day] = v
	}
	for day := 0; day <= min(h.age, windowDays); day++ {
		mean := h.perDay * math.Exp(h.noise*rng.NormFloat64()) * math.Pow(h.growth, -float64(day))
		weekend := (weekday-day%7+7)%7 >= 5
		if weekend {
			mean *= h.weekend
		}
		var n uint64
		for _, typ := range eventTypes() {
			share := map[string]float64{"play_start": 0.15, "progress": 0.5, "play_end": 0.14, "click": 0.15, "like": 0.01, "search": 0.05}[typ]
			if weekend && typ == "search" {
				share *= 2
			}
			k := poisson(rng, mean*share*math.Exp(0.1*rng.NormFloat64()))
			put("type", typ, day, Day{Events: k})
			n += k
		}
		for _, typ := range eventTypes() {
			d.days[measure{"type", typ}][day].Of = n
		}
		put("volume", "", day, Day{Events: n})
		put("unknown_title", "", day, Day{Events: poisson(rng, 0.01*float64(n)), Of: n})
		put("duplicate", "", day, Day{Events: poisson(rng, 0.002*float64(n)), Of: n})
		for i, field := range nullFields() {
			put("null", field, day, Day{Events: min(n, poisson(rng, float64(i)/20*float64(n))), Of: n})
		}
	}
	return d
}

func poisson(rng *rand.Rand, mean float64) uint64 {
	if mean > 50 {
		return uint64(max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	k, p, limit := uint64(0), rng.Float64(), math.Exp(-mean)
	for ; p > limit; k++ {
		p *= rng.Float64()
	}
	return k
}

// TestNoFalseAlarm: nearly two years of nights on platforms that are all right, young and old, quiet and wild, raise at most one
// alarm, and a few on the wildest.
func TestNoFalseAlarm(t *testing.T) {
	for name, c := range map[string]struct {
		habit habit
		// alarms is how many of 600 days may be refused.
		alarms int
	}{
		"steady":                {habit{20_000, 1, 0.05, 1, 60}, 1},
		"weekends":              {habit{20_000, 2.2, 0.1, 1, 60}, 1},
		"weekends, small":       {habit{400, 2, 0.1, 1, 60}, 1},
		"wild":                  {habit{5000, 1.5, 0.4, 1, 60}, 4},
		"growing":               {habit{5000, 1.6, 0.1, 1.03, 60}, 1},
		"shrinking":             {habit{5000, 1.6, 0.1, 0.97, 60}, 1},
		"in its first week":     {habit{5000, 2, 0.1, 1, 5}, 1},
		"in its second week":    {habit{5000, 2, 0.1, 1, 10}, 1},
		"in its third week":     {habit{5000, 2, 0.1, 1, 15}, 1},
		"too small to say much": {habit{60, 2, 0.3, 1, 60}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			var alarms []Check
			for i := range 600 {
				alarms = append(alarms, DefaultConfig().judge(platform(rng, c.habit, i%7), time.Now()).Failed()...)
			}
			if len(alarms) > c.alarms {
				t.Errorf("%d alarms of 600 days, %d are allowed: %v", len(alarms), c.alarms, alarms[:min(5, len(alarms))])
			}
		})
	}
}

// TestAlarms: what a broken day must not pass for, whatever the weekday.
func TestAlarms(t *testing.T) {
	for name, c := range map[string]struct {
		habit  habit
		factor float64
	}{
		"steady, 70% lost":              {habit{20_000, 1, 0.05, 1, 60}, 0.3},
		"weekends, 75% lost":            {habit{20_000, 2.2, 0.08, 1, 60}, 0.2},
		"weekends, three times as many": {habit{20_000, 2.2, 0.08, 1, 60}, 3},
		"third week, a tenth is left":   {habit{20_000, 2.2, 0.08, 1, 17}, 0.1},
		"second week, nothing is left":  {habit{20_000, 2.2, 0.08, 1, 10}, 0},
		"first week, nothing is left":   {habit{20_000, 2.2, 0.08, 1, 4}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4)) // its own: cases come in any order
			missed := 0
			for i := range 500 {
				d := platform(rng, c.habit, i%7)
				for _, days := range d.days {
					days[0] = Day{Events: uint64(float64(days[0].Events) * c.factor), Of: uint64(float64(days[0].Of) * c.factor)}
				}
				if failed := DefaultConfig().judge(d, time.Now()).Failed(); len(failed) == 0 || failed[0].Name != "volume" {
					missed++
				}
			}
			if missed > 10 {
				t.Errorf("%d of 500 broken days passed", missed)
			}
		})
	}
}

// TestAnOutageIsNoMeasure: the same bad day every night is refused every night, not only until it is what is usual.
func TestAnOutageIsNoMeasure(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for outage := range 14 {
		d := platform(rng, habit{20_000, 1.5, 0.05, 1, 60}, outage%7)
		for _, days := range d.days {
			for day := range outage + 1 {
				days[day] = Day{}
			}
		}
		if failed := DefaultConfig().judge(d, time.Now()).Failed(); len(failed) != 1 || failed[0].Name != "volume" {
			t.Errorf("after %d days without an event: %v", outage, failed)
		}
	}
}

func TestTransformsAreInverted(t *testing.T) {
	for _, s := range []scale{counts(), shares()} {
		for _, part := range []float64{0, 1, 17, 500} {
			want := part
			if s.share {
				want = part / 500
			}
			if got := s.from(s.to(part, 500), 500); math.Abs(got-want) > 1e-9*(1+want) {
				t.Errorf("%v of 500 comes back as %v", part, got)
			}
		}
		if got := s.from(-5, 100); got != 0 {
			t.Errorf("below nothing is %v", got)
		}
	}
}

// TestSpread holds the estimate of the standard deviation against normal values with the sizes it is used with.
func TestSpread(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for n := 2; n <= 12; n++ {
		var sum float64
		const rounds = 20_000
		for range rounds {
			values := make([]float64, n)
			for i := range values {
				values[i] = rng.NormFloat64()
			}
			sum += spread(values)
		}
		if mean := sum / rounds; math.Abs(mean-1) > 0.03 {
			t.Errorf("of %d values it is %.3f on average, 1 is right", n, mean)
		}
	}
	if s := spread([]float64{1, 1, 1, 1, 1, 1, 100}); s != 0 {
		t.Errorf("one bad day moves it to %v", s)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(c *Config){
		"sigmas":         func(c *Config) { c.Sigmas = 0 },
		"volume_factor":  func(c *Config) { c.VolumeFactor = math.NaN() },
		"type_factor":    func(c *Config) { c.TypeFactor = 0.5 },
		"type_share":     func(c *Config) { c.TypeShare = -1 },
		"null_rise":      func(c *Config) { c.NullRise = 2 },
		"unknown_rise":   func(c *Config) { c.UnknownRise = -0.1 },
		"unknown_most":   func(c *Config) { c.UnknownMost = 1.1 },
		"duplicate_rise": func(c *Config) { c.DuplicateRise = 2 },
		"duplicate_most": func(c *Config) { c.DuplicateMost = -2 },
		"least_events":   func(c *Config) { c.LeastEvents = 0 },
		"least_days":     func(c *Config) { c.LeastDays = 8 },
		"every":          func(c *Config) { c.Every = time.Second },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !slices.Contains([]string{"features.quality." + name}, err.Error()[:len("features.quality."+name)]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
