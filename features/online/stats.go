package online

import (
	"strings"

	ingestv1 "marquee/ingest/v1"
)

// Stats is a row of the set profile_stats, but for the profile.
type Stats struct {
	Events    uint64
	Titles    uint32
	Plays     uint32
	WatchedMS int64
	Sessions  uint32
	SessionMS int64
	FirstAt   int64
	LastAt    int64
	// DeviceClass is the most frequent one, in lower case: tv, phone, …; "unspecified" when none is known.
	DeviceClass string
	// Country is the most frequent one, empty when none is known.
	Country string
}

// NewStats computes the statistics of a profile's events, which must be as Dedup returns them and at least one.
func NewStats(events []Event) Stats {
	s := Stats{Events: uint64(len(events)), FirstAt: events[0].At, LastAt: events[len(events)-1].At}
	for _, row := range NewHistory(events...).Interactions() {
		s.Titles++
		s.Plays += row.Plays
		s.WatchedMS += row.WatchedMS
	}
	devices, countries := map[string]int{}, map[string]int{}
	var began int64
	for i, e := range events {
		if i == 0 || NewSession(events[i-1].At, e.At) {
			s.Sessions++
			began = e.At
		}
		if i == len(events)-1 || NewSession(e.At, events[i+1].At) {
			s.SessionMS += (e.At - began) / 1000
		}
		if e.Device != ingestv1.DeviceClass_DEVICE_CLASS_UNSPECIFIED {
			devices[deviceName(e.Device)]++
		}
		if e.Country != "" {
			countries[e.Country]++
		}
	}
	s.DeviceClass, s.Country = mode(devices, deviceName(ingestv1.DeviceClass_DEVICE_CLASS_UNSPECIFIED)), mode(countries, "")
	return s
}

// NewSession reports whether an event begins a new session, given the time of the profile's event before it. Both are
// microseconds since the Unix epoch.
func NewSession(before, at int64) bool { return at-before > SessionGap.Microseconds() }

// mode returns the most frequent key, of equals the first by name, or otherwise when there is none.
func mode(counts map[string]int, otherwise string) string {
	best, n := otherwise, 0
	for k, c := range counts {
		if c > n || c == n && k < best {
			best, n = k, c
		}
	}
	return best
}

// deviceName is a device class as the warehouse names it.
func deviceName(d ingestv1.DeviceClass) string {
	return strings.ToLower(strings.TrimPrefix(d.String(), "DEVICE_CLASS_"))
}
