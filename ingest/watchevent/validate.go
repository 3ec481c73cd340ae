// Package watchevent holds what makes a watch event valid, how one is read from a broker record, which clock it is
// given, and how its id is made.
//
// The rules are the contract's (ingest/v1/ingest.proto, written there for protovalidate). They are written out again
// here because they run on every event at the ingest rate: a test holds the two to the same verdict, field by field.
package watchevent

import (
	"fmt"
	"strconv"

	ingestv1 "marquee/ingest/v1"
)

// The limits of the contract.
const (
	// MaxIDBytes bounds every identifier.
	MaxIDBytes = 64
	// MaxQueryBytes bounds the text of a search.
	MaxQueryBytes = 512
	// MaxSeenTitles bounds seen_title_ids.
	MaxSeenTitles = 200
	// MaxSpanMS bounds positions and durations: seven days in milliseconds.
	MaxSpanMS = 604_800_000
	// MaxTime is the first moment, in microseconds since the Unix epoch, that is too late: 2100-01-01.
	MaxTime int64 = 4_102_444_800_000_000
	// MaxSchemaVersion bounds schema_version.
	MaxSchemaVersion = 1000

	maxRow  = 1000
	maxRank = 10_000
)

// Validate returns what is wrong with an event, one violation a field, in the order of the contract's fields; nil when
// nothing is. Its verdict is protovalidate's.
func Validate(e *ingestv1.WatchEvent) []*ingestv1.FieldViolation {
	if valid(e) {
		return nil
	}
	return explain(e)
}

// valid is the path every good event takes: no allocation.
func valid(e *ingestv1.WatchEvent) bool {
	return IsID(e.EventId) &&
		e.SchemaVersion-1 < MaxSchemaVersion &&
		len(e.ProfileId) > 0 && len(e.ProfileId) <= MaxIDBytes &&
		len(e.TitleId) <= MaxIDBytes && len(e.PlayableId) <= MaxIDBytes && len(e.PlayId) <= MaxIDBytes &&
		definedType(e.Type) && needs(e) == "" &&
		e.OccurredAt > 0 && e.OccurredAt < MaxTime &&
		len(e.SessionId) <= MaxIDBytes && definedDevice(e.DeviceClass) && isCountry(e.Country) &&
		len(e.Surface) <= MaxIDBytes &&
		isSpan(e.PositionMs) && isSpan(e.WatchedMs) && isSpan(e.DurationMs) &&
		len(e.Query) <= MaxQueryBytes && len(e.RequestId) <= MaxIDBytes &&
		(e.Row == nil || *e.Row < maxRow) && (e.Rank == nil || *e.Rank < maxRank) &&
		areIDs(e.SeenTitleIds)
}

func definedType(t ingestv1.EventType) bool {
	return t >= ingestv1.EventType_EVENT_TYPE_PLAY_START && t <= ingestv1.EventType_EVENT_TYPE_SLATE_SEEN
}

func definedDevice(d ingestv1.DeviceClass) bool {
	return d >= ingestv1.DeviceClass_DEVICE_CLASS_UNSPECIFIED && d <= ingestv1.DeviceClass_DEVICE_CLASS_CONSOLE
}

func isSpan(ms int64) bool { return ms >= 0 && ms <= MaxSpanMS }

func isCountry(c string) bool {
	return c == "" || (len(c) == 2 && c[0] >= 'A' && c[0] <= 'Z' && c[1] >= 'A' && c[1] <= 'Z')
}

func areIDs(ids []string) bool {
	if len(ids) > MaxSeenTitles {
		return false
	}
	for _, id := range ids {
		if len(id) == 0 || len(id) > MaxIDBytes {
			return false
		}
	}
	return true
}

// needs names the first field that the event's type requires and that is empty, or "".
func needs(e *ingestv1.WatchEvent) string {
	switch e.Type {
	case ingestv1.EventType_EVENT_TYPE_SEARCH:
		if e.Query == "" {
			return "query"
		}
	case ingestv1.EventType_EVENT_TYPE_SLATE_SEEN:
		if len(e.SeenTitleIds) == 0 {
			return "seen_title_ids"
		}
	default:
		if e.TitleId == "" {
			return "title_id"
		}
		if e.PlayId == "" && isPlay(e.Type) {
			return "play_id"
		}
	}
	return ""
}

func isPlay(t ingestv1.EventType) bool {
	return t >= ingestv1.EventType_EVENT_TYPE_PLAY_START && t <= ingestv1.EventType_EVENT_TYPE_PLAY_END
}

// violations gathers what is wrong.
type violations []*ingestv1.FieldViolation

func (v *violations) add(field, format string, args ...any) {
	*v = append(*v, &ingestv1.FieldViolation{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (v *violations) maxBytes(field, value string, limit int) {
	if len(value) > limit {
		v.add(field, "must have at most %d bytes, has %d", limit, len(value))
	}
}

func (v *violations) span(field string, ms int64) {
	if !isSpan(ms) {
		v.add(field, "must be between 0 and %d milliseconds (seven days), is %d", MaxSpanMS, ms)
	}
}

// explain says what is wrong with an event that is not valid.
func explain(e *ingestv1.WatchEvent) []*ingestv1.FieldViolation {
	var v violations
	explainIdentity(e, &v)
	if e.OccurredAt <= 0 || e.OccurredAt >= MaxTime {
		v.add("occurred_at", "must be microseconds since the Unix epoch, after 1970 and before 2100, is %d%s", e.OccurredAt,
			unitHint(e.OccurredAt))
	}
	v.maxBytes("session_id", e.SessionId, MaxIDBytes)
	if !definedDevice(e.DeviceClass) {
		v.add("device_class", "must be one of DeviceClass (0 to 5), is %d", e.DeviceClass)
	}
	if !isCountry(e.Country) {
		v.add("country", "must be two upper-case letters (ISO 3166-1 alpha-2) or empty, is %q", clip(e.Country))
	}
	v.maxBytes("surface", e.Surface, MaxIDBytes)
	v.span("position_ms", e.PositionMs)
	v.span("watched_ms", e.WatchedMs)
	v.span("duration_ms", e.DurationMs)
	v.maxBytes("query", e.Query, MaxQueryBytes)
	v.maxBytes("request_id", e.RequestId, MaxIDBytes)
	if e.Row != nil && *e.Row >= maxRow {
		v.add("row", "must be below %d, is %d", maxRow, *e.Row)
	}
	if e.Rank != nil && *e.Rank >= maxRank {
		v.add("rank", "must be below %d, is %d", maxRank, *e.Rank)
	}
	explainSeen(e, &v)
	return v
}

func explainIdentity(e *ingestv1.WatchEvent, v *violations) {
	if !IsID(e.EventId) {
		v.add("event_id", "must be a UUID of version 7 in lower case, like 01930d5e-5c00-7000-8000-000000000000, is %q", clip(e.EventId))
	}
	if e.SchemaVersion < 1 || e.SchemaVersion > MaxSchemaVersion {
		v.add("schema_version", "must be between 1 and %d (1 today), is %d", MaxSchemaVersion, e.SchemaVersion)
	}
	if len(e.ProfileId) == 0 || len(e.ProfileId) > MaxIDBytes {
		v.add("profile_id", "must have 1 to %d bytes, has %d", MaxIDBytes, len(e.ProfileId))
	}
	v.maxBytes("title_id", e.TitleId, MaxIDBytes)
	if e.TitleId == "" && !searchOrSlate(e.Type) {
		v.add("title_id", "is required for every type but search and slate_seen")
	}
	v.maxBytes("playable_id", e.PlayableId, MaxIDBytes)
	v.maxBytes("play_id", e.PlayId, MaxIDBytes)
	if e.PlayId == "" && isPlay(e.Type) {
		v.add("play_id", "is required when type is play_start, progress or play_end")
	}
	if !definedType(e.Type) {
		v.add("type", "must be one of EventType (1 to 11), is %d", e.Type)
	}
	if e.Type == ingestv1.EventType_EVENT_TYPE_SEARCH && e.Query == "" {
		v.add("query", "is required when type is search")
	}
}

func explainSeen(e *ingestv1.WatchEvent, v *violations) {
	if e.Type == ingestv1.EventType_EVENT_TYPE_SLATE_SEEN && len(e.SeenTitleIds) == 0 {
		v.add("seen_title_ids", "is required when type is slate_seen")
	}
	if len(e.SeenTitleIds) > MaxSeenTitles {
		v.add("seen_title_ids", "must have at most %d items, has %d", MaxSeenTitles, len(e.SeenTitleIds))
	}
	// Items past the limit are wrong already; naming each would make a large answer of a hostile request.
	for i, id := range e.SeenTitleIds[:min(len(e.SeenTitleIds), MaxSeenTitles)] {
		if len(id) == 0 || len(id) > MaxIDBytes {
			v.add("seen_title_ids["+strconv.Itoa(i)+"]", "must have 1 to %d bytes, has %d", MaxIDBytes, len(id))
		}
	}
}

func searchOrSlate(t ingestv1.EventType) bool {
	return t == ingestv1.EventType_EVENT_TYPE_SEARCH || t == ingestv1.EventType_EVENT_TYPE_SLATE_SEEN
}

// unitHint recognises the commonest mistake: nanoseconds where microseconds are right.
func unitHint(t int64) string {
	if t >= MaxTime && t/1000 < MaxTime {
		return "; these look like nanoseconds"
	}
	return ""
}

// clip keeps a hostile value from filling the answer.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
