package view

import (
	"slices"

	"marquee/ann"
	"marquee/catalog/changes"
)

// window is when and where a title may be watched. Times are microseconds since the Unix epoch.
type window struct {
	from, until int64    // until is exclusive; 0 means no end
	countries   []uint16 // nil: every country
}

// Countries are numbered by their two letters; 0 is no country: what holds in every one.
const countryCodes = 26*26 + 1

// countryCode returns the number of an upper-case two-letter code, 0 for "", and false for anything else.
func countryCode(c string) (uint16, bool) {
	if c == "" {
		return 0, true
	}
	if len(c) != 2 || c[0] < 'A' || c[0] > 'Z' || c[1] < 'A' || c[1] > 'Z' {
		return 0, false
	}
	return uint16(c[0]-'A')*26 + uint16(c[1]-'A') + 1, true
}

func windowsOf(t *changes.Title) []window {
	out := make([]window, 0, len(t.Availability))
	for _, a := range t.Availability {
		w := window{from: a.From, until: a.Until}
		if len(a.Countries) > 0 {
			w.countries = make([]uint16, 0, len(a.Countries))
		}
		for _, c := range a.Countries {
			if code, ok := countryCode(c); ok && code != 0 {
				w.countries = append(w.countries, code)
			}
		}
		out = append(out, w)
	}
	return out
}

// open reports whether the window holds at an instant in a country. Without a country only a window for every country
// does: nobody knows that the viewer is in one of those it names.
func (w *window) open(country uint16, now int64) bool {
	if now < w.from || w.until != 0 && now >= w.until {
		return false
	}
	return w.countries == nil || country != 0 && slices.Contains(w.countries, country)
}

// countryMask holds what is available in one country from an instant to another, between which no window opens or closes.
type countryMask struct {
	from, until int64
	rows        ann.Bitmap
}

// Audience is who asks, as far as hard filters care.
type Audience struct {
	// Country is an upper-case two-letter code. Empty: only titles available in every country.
	Country string
	// MaxAge is the maturity limit; titles above it and unrated ones are out. Negative: no limit.
	MaxAge int
	// Plan is what the profile may watch.
	Plan Plan
	// Now is the instant, microseconds since the Unix epoch.
	Now int64
}

// Plan is a set of titles that a subscription covers.
type Plan struct {
	// Key names the set: plans with one key cover the same titles of one catalogue revision. Empty is for no plan.
	Key string
	// Covers says whether a title is in the set. Nil: every title is.
	Covers func(titleID string) bool
}

// Filtered counts what each hard filter takes out on its own.
type Filtered struct {
	Unavailable, Maturity, Entitlement int
}

// Eligible writes the rows that the audience may be shown to dst, which must be for Rows() rows. It is the one place hard
// filters are applied: what is not set in dst must not be in an answer. Whatever it cannot place, as a country
// that is none, holds no title.
func (v *View) Eligible(dst ann.Bitmap, a Audience) {
	code, ok := countryCode(a.Country)
	if !ok {
		clear(dst)
		return
	}
	copy(dst, v.country(code, a.Now))
	if a.MaxAge >= 0 {
		dst.And(v.age(min(a.MaxAge, maxAge)))
	}
	if a.Plan.Covers != nil {
		dst.And(v.plan(a.Plan))
	}
}

// CountFiltered says how many titles of the catalogue each filter keeps from the audience.
func (v *View) CountFiltered(a Audience) Filtered {
	var f Filtered
	all := v.known.Count()
	code, ok := countryCode(a.Country)
	if !ok {
		return Filtered{Unavailable: all}
	}
	f.Unavailable = all - v.country(code, a.Now).Count()
	if a.MaxAge >= 0 {
		f.Maturity = all - v.age(min(a.MaxAge, maxAge)).Count()
	}
	if a.Plan.Covers != nil {
		f.Entitlement = all - v.plan(a.Plan).Count()
	}
	return f
}

// Blocked says which hard filters keep one title of the catalogue from the audience. None does where Eligible has it.
func (v *View) Blocked(row uint32, a Audience) (unavailable, maturity, entitlement bool) {
	code, ok := countryCode(a.Country)
	unavailable = !ok || !v.country(code, a.Now).Has(row)
	maturity = a.MaxAge >= 0 && !v.age(min(a.MaxAge, maxAge)).Has(row)
	entitlement = a.Plan.Covers != nil && !v.plan(a.Plan).Has(row)
	return unavailable, maturity, entitlement
}

// country returns what is available in a country now. The mask is made anew when a window opens or closes; several
// requests may then make it at once, to the same result.
func (v *View) country(code uint16, now int64) ann.Bitmap {
	if m := v.countries[code].Load(); m != nil && m.from <= now && now < m.until {
		return m.rows
	}
	m := &countryMask{rows: ann.NewBitmap(v.rows)}
	m.from, m.until = v.between(now)
	for row := range uint32(v.rows) {
		if slices.ContainsFunc(v.windows[row], func(w window) bool { return w.open(code, now) }) {
			m.rows.Set(row)
		}
	}
	v.countries[code].Store(m)
	return m.rows
}

// between returns the boundaries around now: the last at or before it and the first after it.
func (v *View) between(now int64) (from, until int64) {
	from, until = -1<<63, 1<<63-1
	i, exact := slices.BinarySearch(v.boundaries, now)
	if exact {
		i++
	}
	if i > 0 {
		from = v.boundaries[i-1]
	}
	if i < len(v.boundaries) {
		until = v.boundaries[i]
	}
	return from, until
}

func (v *View) age(limit int) ann.Bitmap {
	if m := v.ages[limit].Load(); m != nil {
		return *m
	}
	m := ann.NewBitmap(v.rows)
	for row, age := range v.maturity {
		if age >= 0 && int(age) <= limit && v.known.Has(uint32(row)) {
			m.Set(uint32(row))
		}
	}
	v.ages[limit].Store(&m)
	return m
}

// maxPlans bounds the masks kept for plans. Beyond it they are made anew: slower, never wrong.
const maxPlans = 256

func (v *View) plan(p Plan) ann.Bitmap {
	v.plansMu.Lock()
	m, ok := v.plans[p.Key]
	v.plansMu.Unlock()
	if ok && p.Key != "" {
		return m
	}
	m = ann.NewBitmap(v.rows)
	for row, t := range v.titles {
		if t != nil && p.Covers(t.ID) {
			m.Set(uint32(row))
		}
	}
	if p.Key != "" {
		v.plansMu.Lock()
		defer v.plansMu.Unlock()
		if len(v.plans) >= maxPlans {
			clear(v.plans)
		}
		v.plans[p.Key] = m
	}
	return m
}
