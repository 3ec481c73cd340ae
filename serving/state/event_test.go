package state

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

func watchEvent() *ingestv1.WatchEvent {
	return &ingestv1.WatchEvent{
		EventId: "018bcfe5-6800-7000-8000-000000000001", SchemaVersion: 1, ProfileId: "p", TitleId: "t", PlayableId: "e",
		PlayId: "1", Type: ingestv1.EventType_EVENT_TYPE_PLAY_END, OccurredAt: start, ReceivedAt: start + 5,
		PositionMs: 10, WatchedMs: 20, DurationMs: 30, Autoplay: true,
	}
}

func TestDecodeProtobufAndJSONAlike(t *testing.T) {
	want := Event{ProfileID: "p", TitleID: "t", PlayableID: "e", PlayID: "1", Type: ingestv1.EventType_EVENT_TYPE_PLAY_END,
		At: start, Order: [2]uint64{0x018bcfe568007000, 0x8000000000000001}, Autoplay: true, PositionMS: 10, WatchedMS: 20, DurationMS: 30}
	binary, err := proto.Marshal(watchEvent())
	if err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(watchEvent())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		contentType string
		value       []byte
	}{{"", binary}, {ingestv1.ContentTypeProto, binary}, {ingestv1.ContentTypeJSON, text}, {ingestv1.ContentTypeJSON + "; charset=utf-8", text}} {
		got, err := new(reader).read(watchevent.Record{Value: tc.value, ContentType: tc.contentType})
		if err != nil || got != want {
			t.Errorf("%q: read %+v, %v; want %+v", tc.contentType, got, err, want)
		}
	}
}

func wire(t *testing.T, change func(*ingestv1.WatchEvent)) []byte {
	t.Helper()
	w := watchEvent()
	change(w)
	value, err := proto.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestImplausibleClocksAreNotBelieved(t *testing.T) {
	flagged := watchevent.Record{Value: wire(t, func(w *ingestv1.WatchEvent) { w.ClockSkew = 7 })}
	if e, err := new(reader).read(flagged); err != nil || e.At != start+5 {
		t.Errorf("At = %d, %v; want the server's time", e.At, err)
	}
	// Nobody stamped this one: it came straight to the topic, from a client that lives in another century.
	const day = 24 * 3600 * 1_000_000
	straight := watchevent.Record{Value: wire(t, func(w *ingestv1.WatchEvent) { w.OccurredAt, w.ReceivedAt = start+1000*day, 0 }), Timestamp: start + day}
	if e, err := new(reader).read(straight); err != nil || e.At != start+day {
		t.Errorf("At = %d, %v; want the record's time", e.At, err)
	}
}

func TestWhatTheConsumerRefusesIsNotLiveEither(t *testing.T) {
	row := uint32(1 << 31)
	for name, spoil := range map[string]func(*ingestv1.WatchEvent){
		"no profile":            func(w *ingestv1.WatchEvent) { w.ProfileId = "" },
		"no title":              func(w *ingestv1.WatchEvent) { w.TitleId = "" },
		"no play":               func(w *ingestv1.WatchEvent) { w.PlayId = "" },
		"no type":               func(w *ingestv1.WatchEvent) { w.Type = 0 },
		"unknown type":          func(w *ingestv1.WatchEvent) { w.Type = 99 },
		"no time":               func(w *ingestv1.WatchEvent) { w.OccurredAt = 0 },
		"negative time watched": func(w *ingestv1.WatchEvent) { w.WatchedMs = -1 },
		"endless film":          func(w *ingestv1.WatchEvent) { w.DurationMs = 1 << 40 },
		"no id":                 func(w *ingestv1.WatchEvent) { w.EventId = "" },
		"received in no time":   func(w *ingestv1.WatchEvent) { w.ReceivedAt = 1 << 62 },
		"no row of a page":      func(w *ingestv1.WatchEvent) { w.Row = &row },
	} {
		if e, err := new(reader).read(watchevent.Record{Value: wire(t, spoil)}); err == nil {
			t.Errorf("%s: read %+v", name, e)
		}
	}
	if _, err := new(reader).read(watchevent.Record{ContentType: "text/csv"}); err == nil {
		t.Error("text/csv was read")
	}
}

func FuzzReader(f *testing.F) {
	binary, _ := proto.Marshal(watchEvent())
	text, _ := protojson.Marshal(watchEvent())
	f.Add("", binary)
	f.Add(ingestv1.ContentTypeJSON, text)
	f.Add(ingestv1.ContentTypeJSON, []byte("{"))
	f.Add("text/csv", []byte("a,b"))
	f.Fuzz(func(t *testing.T, contentType string, value []byte) {
		e, err := new(reader).read(watchevent.Record{Value: value, ContentType: contentType, Timestamp: start})
		if err != nil {
			return
		}
		// What is read can be applied, whatever it says.
		s, _ := newStore(t, DefaultConfig())
		s.Apply(e)
		s.Read(e.ProfileID, &History{})
		s.Trending()
	})
}
