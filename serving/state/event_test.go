package state

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
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
	}{{"", binary}, {ingestv1.ContentTypeProto, binary}, {ingestv1.ContentTypeJSON, text}} {
		got, err := Decode(tc.contentType, tc.value)
		if err != nil || got != want {
			t.Errorf("Decode(%q) = %+v, %v; want %+v", tc.contentType, got, err, want)
		}
	}
}

func TestImplausibleClocksAreNotBelieved(t *testing.T) {
	w := watchEvent()
	w.ClockSkew = 7
	e, err := fromWatchEvent(w)
	if err != nil || e.At != start+5 {
		t.Errorf("At = %d, %v; want the server's time", e.At, err)
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*ingestv1.WatchEvent)
		want  string
	}{
		{"no profile", func(w *ingestv1.WatchEvent) { w.ProfileId = "" }, "profile_id must have 1 to 64 bytes, has 0"},
		{"long profile", func(w *ingestv1.WatchEvent) { w.ProfileId = strings.Repeat("x", 65) }, "has 65"},
		{"no title", func(w *ingestv1.WatchEvent) { w.TitleId = "" }, "title_id"},
		{"no play", func(w *ingestv1.WatchEvent) { w.PlayId = "" }, "play_id is required"},
		{"no type", func(w *ingestv1.WatchEvent) { w.Type = 0 }, "type 0 is not known"},
		{"unknown type", func(w *ingestv1.WatchEvent) { w.Type = 99 }, "type 99 is not known"},
		{"no time", func(w *ingestv1.WatchEvent) { w.OccurredAt = 0 }, "occurred_at"},
		{"negative time watched", func(w *ingestv1.WatchEvent) { w.WatchedMs = -1 }, "watched_ms must be between 0 and 604800000, is -1"},
		{"endless film", func(w *ingestv1.WatchEvent) { w.DurationMs = 1 << 40 }, "duration_ms"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := watchEvent()
			tc.spoil(w)
			value, err := proto.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode("", value); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := Decode("text/csv", nil); err == nil || !strings.Contains(err.Error(), `content-type is "text/csv"`) {
		t.Errorf("error %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	binary, _ := proto.Marshal(watchEvent())
	text, _ := protojson.Marshal(watchEvent())
	f.Add("", binary)
	f.Add(ingestv1.ContentTypeJSON, text)
	f.Add(ingestv1.ContentTypeJSON, []byte("{"))
	f.Add("text/csv", []byte("a,b"))
	f.Fuzz(func(t *testing.T, contentType string, value []byte) {
		e, err := Decode(contentType, value)
		if err != nil {
			return
		}
		// What decodes can be applied, whatever it says.
		s, _ := newStore(t, DefaultConfig())
		s.Apply(e)
		s.Read(e.ProfileID, &History{})
		s.Trending()
	})
}
