package watchevent

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	ingestv1 "marquee/ingest/v1"
)

// firstRelease is the event in testdata/first_release, as the first release wrote it to the broker in both forms. The
// files never change: whatever the schema becomes, they are read like this.
func firstRelease() *ingestv1.WatchEvent {
	return &ingestv1.WatchEvent{
		EventId: "019ab0c1-5000-7abc-8def-000000000000", SchemaVersion: 1, ProfileId: "ml1m:1193", TitleId: "ml1m:2",
		PlayableId: "ml1m:2/s1e3", PlayId: "play-1", Type: ingestv1.EventType_EVENT_TYPE_PLAY_END,
		OccurredAt: 1_763_900_000_123_456, ReceivedAt: 1_763_900_001_623_456, SessionId: "session-é",
		DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TABLET, Country: "NO", Surface: "player", Autoplay: true,
		PositionMs: 61_000, WatchedMs: 60_000, DurationMs: 6_000_000, Query: "blå himmel", RequestId: "req-7",
		Row: proto.Uint32(3), Rank: proto.Uint32(11), SeenTitleIds: []string{"ml1m:2", "ml1m:3"},
		ImportId: "movielens:ml1m", ClockSkew: -7,
	}
}

func TestAnEventOfTheFirstReleaseIsRead(t *testing.T) {
	var d Decoder
	for file, contentType := range map[string]string{"event.binpb": "", "event.json": ingestv1.ContentTypeJSON} {
		content, err := os.ReadFile("testdata/first_release/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, refusal := d.Read(Record{Value: content, ContentType: contentType})
		if refusal != nil {
			t.Fatalf("%s: %v", file, refusal)
		}
		if diff := cmp.Diff(firstRelease(), got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestWhatANewerClientSaysIsKept(t *testing.T) {
	known, err := proto.Marshal(firstRelease())
	if err != nil {
		t.Fatal(err)
	}
	future := protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "chapter 3")
	future = protowire.AppendVarint(protowire.AppendTag(future, 901, protowire.VarintType), 77)
	object := protowire.AppendString(protowire.AppendTag(nil, UnknownJSON, protowire.BytesType), `{"chapter":{"n":3},"mood":"calm"}`)
	text, err := os.ReadFile("testdata/first_release/event.json")
	if err != nil {
		t.Fatal(err)
	}
	text = append([]byte(`{"mood":"calm", "chapter": {"n": 3},`), text[1:]...)
	var d Decoder
	for name, tt := range map[string]struct {
		record Record
		want   []byte
	}{
		"protobuf":      {Record{Value: append(future, known...)}, future},
		"JSON":          {Record{Value: text, ContentType: ingestv1.ContentTypeJSON}, object},
		"nothing there": {Record{Value: known}, nil},
	} {
		got, refusal := d.Read(tt.record)
		if refusal != nil {
			t.Fatalf("%s: %v", name, refusal)
		}
		if diff := cmp.Diff(string(tt.want), string(got.ProtoReflect().GetUnknown())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		want := firstRelease()
		want.ProtoReflect().SetUnknown(tt.want)
		if !proto.Equal(want, got) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
