// Package quality holds the last day of watch events against the days before it, so that broken data is found before a model
// is trained on it.
//
// The day that is judged is the 24 hours up to and including as_of; days count back from there. A day without any event is an
// outage, and nothing to go by. Counts and shares are transformed so that chance alone gives them a known spread (robust.go
// names the sources of what follows). The judged day is expected to be to its weekday, the median of the last four weeks, as the last
// seven days were to theirs; a median of their departures gives the trend, a scaled median absolute deviation of four weeks' the
// spread, never less than chance gives. In the first two weeks, the days themselves take the place of the departures, and anything from a
// usual day to the same weekday a week ago is expected. A check fails when the day is more than a number of spreads off, as in the
// modified z-score (B. Iglewicz and D. C. Hoaglin, How to Detect and Handle Outliers, ASQC 1993), and off by more than a factor or
// a number of points besides: what is certain may still be too small to matter. What has no history to compare with, or too few
// events, is not compared and says so.
package quality

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

//go:embed daily.sql
var dailySQL string

const (
	referenceDays = 7
	// spreadDays are those whose departures from their weekday say how much a day may vary.
	spreadDays = 28
	windowDays = 35
)

// Status is what became of a check.
type Status string

// The statuses.
const (
	Passed      Status = "passed"
	Failed      Status = "failed"
	NotCompared Status = "not_compared"
)

// Check is one thing that was measured and what is allowed. Its JSON is part of the commands' contract.
type Check struct {
	// Name is volume, unknown_titles, duplicates, null:FIELD or type:TYPE.
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Unit is events, or share: a share of events between 0 and 1.
	Unit string `json:"unit"`
	// Measured is of the day up to as_of, Usual what the days before make one expect; Low and High are the least and the most allowed.
	// Usual, Low and High are 0 when there is nothing to compare with.
	Measured float64 `json:"measured"`
	Usual    float64 `json:"usual"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	// Note says why nothing was compared.
	Note string `json:"note,omitempty"`
	// Days are the measured values from day 0, the judged one, backwards: what is usual can be seen there.
	Days []Day `json:"days,omitempty"`
}

// Day is a count of events on one day, and the count it is a share of; Of is 0 where it is no share.
type Day struct {
	Events uint64 `json:"events"`
	Of     uint64 `json:"of,omitempty"`
}

// Report is the outcome of all checks as of an instant.
type Report struct {
	AsOf   time.Time `json:"as_of"`
	Passed bool      `json:"passed"`
	// HistoryDays is how many whole days of history, of the 35 before the judged one, there are.
	HistoryDays int     `json:"history_days"`
	Note        string  `json:"note,omitempty"`
	Checks      []Check `json:"checks"`
}

// Failed returns the checks that failed.
func (r *Report) Failed() []Check {
	return slices.DeleteFunc(slices.Clone(r.Checks), func(c Check) bool { return c.Status != Failed })
}

// Names returns the names of all checks there can be, in the order of reports.
func Names() []string {
	names := []string{"volume", "unknown_titles", "duplicates"}
	for _, field := range nullFields() {
		names = append(names, "null:"+field)
	}
	for _, typ := range eventTypes() {
		names = append(names, "type:"+typ)
	}
	return names
}

func nullFields() []string {
	return []string{"title_id", "playable_id", "play_id", "duration_ms", "watched_ms", "query", "seen_title_ids",
		"session_id", "device_class", "country", "surface", "request_id"}
}

func eventTypes() []string {
	return []string{"play_start", "progress", "play_end", "click", "like", "dislike", "not_interested", "list_add", "list_remove",
		"search", "slate_seen"}
}

// String says what was measured and what is allowed, for people.
func (c Check) String() string {
	if c.Status == NotCompared {
		return fmt.Sprintf("%s: %s, not compared: %s", c.Name, c.Format(c.Measured), c.Note)
	}
	text := fmt.Sprintf("%s: %s measured, %s to %s allowed", c.Name, c.Format(c.Measured), c.Format(c.Low), c.Format(c.High))
	if c.Note != "" {
		return text + " (" + c.Note + ")"
	}
	return text + ", usually " + c.Format(c.Usual)
}

// Format is one of the check's numbers, for people.
func (c Check) Format(v float64) string {
	if c.Unit == "share" {
		return strconv.FormatFloat(100*v, 'f', 2, 64) + "%"
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " events"
}

// measure is a measurement of daily.sql.
type measure struct{ kind, name string }

// daily is what daily.sql counted.
type daily struct {
	days      map[measure][]Day // from day 0, as many as the window has
	any       bool              // there is an event at or before as_of
	history   int               // whole days of history before the judged one
	catalogue uint64            // titles the catalogue has held
}

// Run measures and judges the day up to as_of.
func Run(ctx context.Context, conn driver.Conn, cfg Config, asOf time.Time) (*Report, error) {
	d, err := count(ctx, conn, asOf)
	if err != nil {
		return nil, fmt.Errorf("count the events of the days up to %s: %w", asOf.Format(time.RFC3339), err)
	}
	return cfg.judge(d, asOf), nil
}

func count(ctx context.Context, conn driver.Conn, asOf time.Time) (_ *daily, err error) {
	params := clickhouse.Parameters{
		"as_of": asOf.UTC().Format("2006-01-02 15:04:05.000000"), "days": strconv.Itoa(windowDays + 1),
	}
	rows, err := conn.Query(clickhouse.Context(ctx, clickhouse.WithParameters(params),
		clickhouse.WithSettings(clickhouse.Settings{"enable_analyzer": 1})), strings.TrimSpace(dailySQL))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	d := &daily{days: map[measure][]Day{}}
	for rows.Next() {
		var day uint32
		var m measure
		var v Day
		if err := rows.Scan(&day, &m.kind, &m.name, &v.Events, &v.Of); err != nil {
			return nil, err
		}
		switch {
		case m.kind == "history":
			// The first event's own day is not whole.
			d.any, d.history = true, min(max(0, int(v.Events)-1), windowDays)
		case m.kind == "catalogue":
			d.catalogue = v.Events
		case day <= windowDays:
			if d.days[m] == nil {
				d.days[m] = make([]Day, windowDays+1)
			}
			d.days[m][day] = v
		}
	}
	return d, rows.Err()
}

// of returns a measure's days; a measure that never was is 0 on every day.
func (d *daily) of(kind, name string) []Day {
	if days := d.days[measure{kind, name}]; days != nil {
		return days
	}
	return make([]Day, windowDays+1)
}
