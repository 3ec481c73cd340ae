package watchevent

import (
	"time"

	ingestv1 "marquee/ingest/v1"
)

// How far a live client's clock may be from the server's before it is not believed. Behind is generous: a download may
// be watched offline for weeks before its events can be sent.
const (
	MaxAhead  = 5 * time.Minute
	MaxBehind = 35 * 24 * time.Hour
)

// StampLive gives a client's event the server's clock (microseconds since the Unix epoch), flags a client clock that
// cannot be right and clears what only an importer may say.
func StampLive(e *ingestv1.WatchEvent, receivedAt int64) {
	e.ReceivedAt = receivedAt
	e.ImportId = ""
	e.ClockSkew = ClockSkew(e.OccurredAt, receivedAt)
}

// StampImport marks an event of imported history: its own time is believed, however old.
func StampImport(e *ingestv1.WatchEvent, receivedAt int64, importID string) {
	e.ReceivedAt = receivedAt
	e.ImportId = importID
	e.ClockSkew = 0
}

// ClockSkew returns receivedAt-occurredAt in microseconds when occurredAt is more than 5 minutes after or 35 days
// before receivedAt, else 0.
func ClockSkew(occurredAt, receivedAt int64) int64 {
	skew := receivedAt - occurredAt
	if skew < -MaxAhead.Microseconds() || skew > MaxBehind.Microseconds() {
		return skew
	}
	return 0
}
