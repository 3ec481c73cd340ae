package compact

import (
	"errors"
	"fmt"
	"time"
)

// Config says how the lake's events are kept.
type Config struct {
	// Interval is how often a service that takes events in looks for something to compact; 0 is never. A day is written
	// anew once it is over, and before that only when very many small files have gathered.
	Interval time.Duration `koanf:"interval"`
	// FileBytes is how large a day's files become.
	FileBytes int64 `koanf:"file_bytes"`
	// Grace is how long replaced files are kept for readers that have listed the lake before; longer than any of them takes.
	Grace     time.Duration `koanf:"grace"`
	Retention Retention     `koanf:"retention"`
}

// Retention is how long events of each type are kept in lake and warehouse: by the UTC day of received_at, so up to a day
// longer. 0 is for ever.
type Retention struct {
	// PlayStart and the others say how long events of their type are kept, in lake and warehouse, such as 2160h for ninety
	// days: by the UTC day they were received on, so up to a day longer. 0 is for ever. What models are trained on, and
	// what profiles see of their past, is no more than what is kept.
	PlayStart     time.Duration `koanf:"play_start"`
	Progress      time.Duration `koanf:"progress"`
	PlayEnd       time.Duration `koanf:"play_end"`
	Click         time.Duration `koanf:"click"`
	Like          time.Duration `koanf:"like"`
	Dislike       time.Duration `koanf:"dislike"`
	NotInterested time.Duration `koanf:"not_interested"`
	ListAdd       time.Duration `koanf:"list_add"`
	ListRemove    time.Duration `koanf:"list_remove"`
	Search        time.Duration `koanf:"search"`
	SlateSeen     time.Duration `koanf:"slate_seen"`
}

// DefaultConfig keeps everything, in files of 256 MB.
func DefaultConfig() Config {
	return Config{Interval: time.Hour, FileBytes: 256 << 20, Grace: 2 * time.Hour}
}

const day = 24 * time.Hour

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Interval != 0 && (c.Interval < time.Minute || c.Interval > 365*day) {
		errs = append(errs, fmt.Errorf("compaction.interval must be 0 (never) or between 1m and 8760h, is %s", c.Interval))
	}
	if c.FileBytes < 1<<20 || c.FileBytes > 16<<30 {
		errs = append(errs, fmt.Errorf("compaction.file_bytes must be between %d and %d, is %d", 1<<20, int64(16<<30), c.FileBytes))
	}
	if c.Grace < time.Minute || c.Grace > 365*day {
		errs = append(errs, fmt.Errorf("compaction.grace must be between 1m and 8760h, is %s", c.Grace))
	}
	for name, d := range c.Retention.byType() {
		if d < day || d > 36500*day {
			errs = append(errs, fmt.Errorf("compaction.retention.%s must be 0 (for ever) or between 24h and 876000h, is %s", name, d))
		}
	}
	return errors.Join(errs...)
}

// byType are the types that are not kept for ever, by their names in the lake.
func (r Retention) byType() map[string]time.Duration {
	out := map[string]time.Duration{
		"play_start": r.PlayStart, "progress": r.Progress, "play_end": r.PlayEnd, "click": r.Click, "like": r.Like,
		"dislike": r.Dislike, "not_interested": r.NotInterested, "list_add": r.ListAdd, "list_remove": r.ListRemove,
		"search": r.Search, "slate_seen": r.SlateSeen,
	}
	for name, d := range out {
		if d == 0 {
			delete(out, name)
		}
	}
	return out
}

const secondsPerDay = 24 * 60 * 60

// firstKept are, by type, the first day (since the Unix epoch, UTC) whose events are kept at an instant.
func (r Retention) firstKept(now time.Time) map[string]int64 {
	out := make(map[string]int64)
	for name, d := range r.byType() {
		out[name] = now.Add(-d).Unix() / secondsPerDay
	}
	return out
}
