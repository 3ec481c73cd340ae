package events

import (
	"context"
	"strconv"

	"github.com/google/uuid"
)

// Checksum says what a set of events holds, whatever the order they are read in.
type Checksum struct {
	Rows int64 `json:"rows"`
	// Checksum is over all columns; see internal/checksum. The warehouse has the same of the same events.
	Checksum string `json:"checksum"`
}

// Checksum reads every event once, copies left out, and sums up all columns.
func (s *Set) Checksum(ctx context.Context) (Checksum, error) {
	var d Digest
	for r, err := range s.Events(ctx) {
		if err != nil {
			return Checksum{}, err
		}
		d.Add(r)
	}
	return Checksum{Rows: d.Content.Count(), Checksum: d.Content.String()}, nil
}

// appendCanonical writes the row as the warehouse's checksum does, column by column in the view's order: texts as
// LENGTH:TEXT, numbers as NUMBER;, what is null as -;, lists as LENGTH[ and their texts.
func (r *Row) appendCanonical(b []byte) []byte {
	b = appendText(b, uuid.UUID(r.EventID).String())
	b = appendNumber(b, int64(r.SchemaVersion))
	for _, text := range []string{r.ProfileID, r.TitleID, r.PlayableID, r.PlayID, r.Type} {
		b = appendText(b, text)
	}
	b = appendNumber(b, r.OccurredAt)
	b = appendNumber(b, r.ReceivedAt)
	for _, text := range []string{r.SessionID, r.DeviceClass, r.Country, r.Surface} {
		b = appendText(b, text)
	}
	b = appendBool(b, r.Autoplay)
	for _, n := range []int64{r.PositionMS, r.WatchedMS, r.DurationMS} {
		b = appendNumber(b, n)
	}
	b = appendText(b, r.Query)
	b = appendText(b, r.RequestID)
	for _, n := range []*uint32{r.Row, r.Rank} {
		if n == nil {
			b = append(b, '-', ';')
		} else {
			b = appendNumber(b, int64(*n))
		}
	}
	b = strconv.AppendInt(b, int64(len(r.SeenTitleIDs)), 10)
	b = append(b, '[')
	for _, text := range r.SeenTitleIDs {
		b = appendText(b, text)
	}
	b = appendText(b, r.ImportID)
	for _, n := range []int64{r.ClockSkew, int64(r.KafkaPartition), r.KafkaOffset} {
		b = appendNumber(b, n)
	}
	b = appendText(b, string(r.UnknownFields))
	return appendNumber(b, r.EffectiveAt())
}

func appendText(b []byte, text string) []byte {
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, ':')
	return append(b, text...)
}

func appendBool(b []byte, is bool) []byte {
	if is {
		return append(b, '1', ';')
	}
	return append(b, '0', ';')
}

func appendNumber(b []byte, n int64) []byte {
	return append(strconv.AppendInt(b, n, 10), ';')
}
