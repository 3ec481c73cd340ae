package quality

import (
	"fmt"
	"math"
	"time"
)

// judge holds the judged day against those before it.
func (c Config) judge(d *daily, asOf time.Time) *Report {
	r := &Report{AsOf: asOf, HistoryDays: d.history}
	volume := d.of("volume", "")
	j := judge{cfg: c, d: d, reference: reference(volume, d.history)}
	for day := range spreadDays + 1 {
		j.weekdays = append(j.weekdays, weekdays(volume, day, d.history))
	}
	j.why = j.incomparable(volume[0].Events)
	if !d.any {
		r.Note = "there is no event up to this instant"
	} else if len(j.reference) == 0 {
		r.Note = "first run: there is no earlier day with events to compare with"
	}
	r.Checks = append(r.Checks, j.volume(volume), j.unknown(), j.duplicates())
	for _, field := range nullFields() {
		r.Checks = append(r.Checks, j.risen(Check{Name: "null:" + field}, d.of("null", field), c.NullRise, 1))
	}
	for _, typ := range eventTypes() {
		r.Checks = append(r.Checks, j.rate(typ))
	}
	r.Passed = len(r.Failed()) == 0
	return r
}

// reference are the latest days before the judged one that are whole and have events, at most seven of them.
func reference(volume []Day, history int) []int {
	var days []int
	for day := 1; day <= history && len(days) < referenceDays; day++ {
		if volume[day].Events > 0 {
			days = append(days, day)
		}
	}
	return days
}

// weekdays are the whole days with events one, two, three and four weeks before the given one.
func weekdays(volume []Day, day, history int) []int {
	var days []int
	for i := day + 7; i <= min(history, day+28); i += 7 {
		if volume[i].Events > 0 {
			days = append(days, i)
		}
	}
	return days
}

// judge is one judgement under way.
type judge struct {
	cfg       Config
	d         *daily
	reference []int
	// weekdays are, for the judged day and those before it whose departures count, the same weekdays of the weeks before.
	weekdays [][]int
	// why is the reason why the judged day's shares cannot be compared with earlier days'; empty when they can.
	why string
}

// incomparable says why earlier days are no measure of the judged one.
func (j *judge) incomparable(events uint64) string {
	if n := len(j.reference); n < j.cfg.LeastDays {
		return fmt.Sprintf("%d earlier whole days with events, %d are needed", n, j.cfg.LeastDays)
	}
	if events < j.cfg.LeastEvents {
		return fmt.Sprintf("%d events, %d are needed", events, j.cfg.LeastEvents)
	}
	return ""
}

func (j *judge) volume(days []Day) Check {
	c := Check{Name: "volume", Unit: "events", Measured: float64(days[0].Events), Days: days}
	if n := len(j.reference); n < j.cfg.LeastDays {
		return j.skip(c, j.why)
	}
	b := j.band(days, counts())
	if b.most < float64(j.cfg.LeastEvents) && c.Measured < float64(j.cfg.LeastEvents) {
		return j.skip(c, fmt.Sprintf("usually %.0f events a day, %d are needed", b.usual, j.cfg.LeastEvents))
	}
	f := j.cfg.VolumeFactor
	if len(j.weekdays[0]) == 0 {
		f *= f // What this weekday is like nobody knows yet.
	}
	// No event at all is no habit, however wild the days before were.
	return decide(c, b.usual, max(1, min(b.low, b.least/f)), max(b.high, b.most*f))
}

func (j *judge) rate(typ string) Check {
	days := j.d.of("type", typ)
	c := Check{Name: "type:" + typ, Unit: "share", Measured: share(days[0]), Days: days}
	if j.why != "" {
		return j.skip(c, j.why)
	}
	b := j.band(days, shares())
	if least := j.cfg.TypeShare; max(c.Measured, b.most) < least {
		return j.skip(c, fmt.Sprintf("under %g%% of the events", 100*least))
	}
	f := j.cfg.TypeFactor
	return decide(c, b.usual, min(b.low, b.least/f), min(1, max(b.high, b.most*f, j.cfg.TypeShare)))
}

func (j *judge) unknown() Check {
	c := Check{Name: "unknown_titles"}
	days := j.d.of("unknown_title", "")
	if j.d.catalogue == 0 {
		c.Unit, c.Measured, c.Days = "share", share(days[0]), days
		return j.skip(c, "the catalogue is empty")
	}
	return j.risen(c, days, j.cfg.UnknownRise, j.cfg.UnknownMost)
}

func (j *judge) duplicates() Check {
	return j.risen(Check{Name: "duplicates"}, j.d.of("duplicate", ""), j.cfg.DuplicateRise, j.cfg.DuplicateMost)
}

// risen judges a share that must not rise. Without history it must not be above most.
func (j *judge) risen(c Check, days []Day, rise, most float64) Check {
	c.Unit, c.Measured, c.Days = "share", share(days[0]), days
	if days[0].Of < j.cfg.LeastEvents {
		return j.skip(c, fmt.Sprintf("%d events, %d are needed", days[0].Of, j.cfg.LeastEvents))
	}
	b := j.band(days, shares())
	if j.why != "" || b.days < j.cfg.LeastDays {
		why := j.why
		if why == "" {
			why = fmt.Sprintf("%d earlier days with such events, %d are needed", b.days, j.cfg.LeastDays)
		}
		if most < 1 && c.Measured > most {
			c.Note = "without history: " + why
			return decide(c, 0, 0, most)
		}
		return j.skip(c, why)
	}
	return decide(c, b.usual, 0, min(1, max(b.high, b.most+rise)))
}

func (j *judge) skip(c Check, why string) Check {
	c.Status, c.Note = NotCompared, why
	return c
}

func decide(c Check, usual, low, high float64) Check {
	c.Usual, c.Low, c.High, c.Status = usual, low, high, Passed
	if c.Measured < low || c.Measured > high {
		c.Status = Failed
	}
	return c
}

// band is what is usual and what chance and habit make of it, in the check's unit.
type band struct {
	days int
	// usual is what is to be expected; least and most lie about it where the weekday's part in it is not known.
	usual, least, most float64
	// low and high are least and most less and more the allowed number of spreads.
	low, high float64
}

// band expects the judged day to be to its weekday as the last seven days were to theirs. Before there are two weeks of history it
// expects anything between a usual day and the same weekday a week before.
func (j *judge) band(days []Day, s scale) band {
	values := j.values(days, j.reference, s)
	b := band{days: len(values)}
	if len(values) == 0 {
		return b
	}
	same := j.values(days, j.weekdays[0], s)
	var least, most float64
	width := j.cfg.Sigmas
	if latest, all := j.departures(days, s); len(same) > 0 && len(latest) >= j.cfg.LeastDays {
		least = median(same) + median(latest)
		most = least
		// The difference of two: twice the variance of one.
		width *= max(spread(all), math.Sqrt2*s.chance(float64(days[0].Of)))
	} else {
		least = median(values)
		most = least
		if len(same) > 0 {
			least, most = min(least, median(same)), max(most, median(same))
		}
		width *= max(spread(values), s.chance(float64(days[0].Of)))
	}
	from := func(v float64) float64 { return s.from(v, float64(days[0].Of)) }
	b.usual, b.least, b.most = from((least+most)/2), from(least), from(most)
	b.low, b.high = from(least-width), from(most+width)
	return b
}

// departures are by how much the days before the judged one differ from the same weekday in the weeks before them: those of the
// latest seven, and all that there are of four weeks.
func (j *judge) departures(days []Day, s scale) (latest, all []float64) {
	for day := 1; day <= spreadDays; day++ {
		own, same := j.values(days, []int{day}, s), j.values(days, j.weekdays[day], s)
		if len(own) == 0 || len(same) == 0 || j.d.of("volume", "")[day].Events == 0 {
			continue
		}
		all = append(all, own[0]-median(same))
		if day <= referenceDays {
			latest = all
		}
	}
	return latest, all
}

// values are those of some days, transformed. A share of nothing is none.
func (j *judge) values(days []Day, which []int, s scale) []float64 {
	var values []float64
	for _, i := range which {
		if part, whole := float64(days[i].Events), float64(days[i].Of); !s.share || whole > 0 {
			values = append(values, s.to(part, whole))
		}
	}
	return values
}

func share(d Day) float64 {
	if d.Of == 0 {
		return 0
	}
	return float64(d.Events) / float64(d.Of)
}
