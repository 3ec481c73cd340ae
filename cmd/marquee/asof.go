package main

import (
	"fmt"
	"time"
)

// asOf is the --as-of flag: an instant, the last event's, or the wall clock's when it is not given.
type asOf struct {
	maxEvent bool
	at       time.Time
}

// UnmarshalText reads an RFC 3339 instant or max-event.
func (a *asOf) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" || s == "max-event" {
		*a = asOf{maxEvent: s == "max-event"}
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return fmt.Errorf("%q is no instant: give one as 2026-03-01T02:00:00Z, or max-event for the time of the last event", s)
	}
	*a = asOf{at: at.UTC()}
	return nil
}

// instant is what the flag stands for; maxEvent is asked when it is the last event's time.
func (a asOf) instant(maxEvent func() (time.Time, error)) (time.Time, error) {
	switch {
	case a.maxEvent:
		return maxEvent()
	case !a.at.IsZero():
		return a.at, nil
	}
	return time.Now().UTC(), nil
}
