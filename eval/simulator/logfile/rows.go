package logfile

import (
	"strings"

	catalogv1 "marquee/catalog/v1"
	"marquee/eval/simulator"
	ingestv1 "marquee/ingest/v1"
)

// eventRow is an event in the columns of the lake.
type eventRow struct {
	EventID     string   `parquet:"event_id"`
	Type        string   `parquet:"type,dict"`
	ProfileID   string   `parquet:"profile_id,dict"`
	TitleID     string   `parquet:"title_id,dict"`
	PlayableID  string   `parquet:"playable_id,dict"`
	PlayID      string   `parquet:"play_id"`
	OccurredAt  int64    `parquet:"occurred_at,timestamp(microsecond)"`
	SessionID   string   `parquet:"session_id,dict"`
	DeviceClass string   `parquet:"device_class,dict"`
	Country     string   `parquet:"country,dict"`
	Surface     string   `parquet:"surface,dict"`
	Autoplay    bool     `parquet:"autoplay"`
	PositionMS  int64    `parquet:"position_ms"`
	WatchedMS   int64    `parquet:"watched_ms"`
	DurationMS  int64    `parquet:"duration_ms"`
	Query       string   `parquet:"query"`
	RequestID   string   `parquet:"request_id"`
	Row         *uint32  `parquet:"row,optional"`
	Rank        *uint32  `parquet:"rank,optional"`
	Seen        []string `parquet:"seen_title_ids,list"`
}

func (r *eventRow) fill(e *ingestv1.WatchEvent, names *names) {
	*r = eventRow{
		EventID: e.EventId, Type: names.types[e.Type], ProfileID: e.ProfileId, TitleID: e.TitleId, PlayableID: e.PlayableId, PlayID: e.PlayId,
		OccurredAt: e.OccurredAt, SessionID: e.SessionId, DeviceClass: names.devices[e.DeviceClass], Country: e.Country, Surface: e.Surface,
		Autoplay: e.Autoplay, PositionMS: e.PositionMs, WatchedMS: e.WatchedMs, DurationMS: e.DurationMs, Query: e.Query, RequestID: e.RequestId,
		Row: e.Row, Rank: e.Rank, Seen: e.SeenTitleIds,
	}
}

// slateRow is a slate as it was served and what came of it.
type slateRow struct {
	RequestID    string    `parquet:"request_id"`
	ProfileID    string    `parquet:"profile_id,dict"`
	ServedAt     int64     `parquet:"served_at,timestamp(microsecond)"`
	Titles       []string  `parquet:"title_ids,list"`
	Propensities []float64 `parquet:"propensities,list"`
	Examined     []bool    `parquet:"examined,list"`
	Clicked      []bool    `parquet:"clicked,list"`
}

func newSlateRow(s *simulator.Slate) slateRow {
	r := slateRow{
		RequestID: s.RequestID, ProfileID: simulator.ProfileID(s.Viewer), ServedAt: s.At.UnixMicro(), Propensities: s.Propensities,
		Examined: s.Examined, Clicked: s.Clicked, Titles: make([]string, len(s.Titles)),
	}
	for i, t := range s.Titles {
		r.Titles[i] = simulator.TitleID(t)
	}
	return r
}

// titleRow is a title as the catalogue has it.
type titleRow struct {
	TitleID     string   `parquet:"title_id"`
	Kind        string   `parquet:"kind,dict"`
	Name        string   `parquet:"name"`
	Description string   `parquet:"description,dict"`
	Year        int32    `parquet:"year"`
	AddedAt     int64    `parquet:"added_at,timestamp(microsecond)"`
	Genres      []string `parquet:"genres,list"`
	MaturityAge uint32   `parquet:"maturity_age"`
	RuntimeMS   int64    `parquet:"runtime_ms"`
}

func newTitleRow(t *catalogv1.Title) titleRow {
	return titleRow{
		TitleID: t.GetTitleId(), Kind: strings.ToLower(strings.TrimPrefix(t.GetKind().String(), "TITLE_KIND_")), Name: t.GetName(), Description: t.GetDescription(),
		Year: t.GetYear(), AddedAt: t.GetAddedAt(), Genres: t.GetGenres(), MaturityAge: t.GetMaturityAge(), RuntimeMS: t.GetRuntimeMs(),
	}
}

// names are the enumerations' values as the lake writes them.
type names struct {
	types   map[ingestv1.EventType]string
	devices map[ingestv1.DeviceClass]string
}

func newNames() *names {
	n := &names{map[ingestv1.EventType]string{}, map[ingestv1.DeviceClass]string{}}
	for number, name := range ingestv1.EventType_name {
		n.types[ingestv1.EventType(number)] = strings.ToLower(strings.TrimPrefix(name, "EVENT_TYPE_"))
	}
	for number, name := range ingestv1.DeviceClass_name {
		n.devices[ingestv1.DeviceClass(number)] = strings.ToLower(strings.TrimPrefix(name, "DEVICE_CLASS_"))
	}
	return n
}
