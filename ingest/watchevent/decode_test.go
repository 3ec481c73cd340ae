package watchevent

import (
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
)

func FuzzDecodeAgreesWithProtobuf(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		e := randomEvent(r)
		e.ReceivedAt, e.ClockSkew, e.Autoplay = 12345, -7, true
		data, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:r.IntN(len(data))])
	}
	f.Add(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "bad \xff utf-8"))
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7))
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.VarintType), 1<<40|3))
	f.Add(protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "a field of the future"))
	f.Add([]byte{0x0b, 0x08, 0x01, 0x0c})
	var d Decoder
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := d.Decode(data)
		want := new(ingestv1.WatchEvent)
		wantErr := proto.Unmarshal(data, want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got error %v, protobuf says %v", err, wantErr)
		}
		if err == nil && !proto.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestDecoderForgetsTheLastEvent(t *testing.T) {
	var d Decoder
	full := goodEvent()
	full.SeenTitleIds = []string{"a", "b"}
	full.Autoplay, full.ImportId, full.ClockSkew, full.PlayableId, full.Query = true, "i", 9, "p", "q"
	data, err := proto.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Decode(data); err != nil || !proto.Equal(got, full) {
		t.Fatalf("got %v (%v), want %v", got, err, full)
	}
	got, err := d.Decode(nil)
	if err != nil || !proto.Equal(got, &ingestv1.WatchEvent{}) {
		t.Errorf("an empty record decodes to %v (%v)", got, err)
	}
}

func TestRead(t *testing.T) {
	wire := func(change func(*ingestv1.WatchEvent)) []byte {
		e := goodEvent()
		e.ReceivedAt = e.OccurredAt + 5
		change(e)
		data, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	same := func(*ingestv1.WatchEvent) {}
	jsonEvent, err := protojson.Marshal(goodEvent())
	if err != nil {
		t.Fatal(err)
	}
	stamp := goodEvent().OccurredAt + 1_000_000
	late := goodEvent().OccurredAt + 40*24*3600*1_000_000
	tests := []struct {
		name     string
		record   Record
		reason   Reason
		says     string
		received int64
		skew     int64
	}{
		{name: "stamped protobuf", record: Record{Value: wire(same), Timestamp: 99}, received: goodEvent().OccurredAt + 5},
		{name: "declared protobuf", record: Record{Value: wire(same), ContentType: "application/x-protobuf"}, received: goodEvent().OccurredAt + 5},
		{name: "json straight to the topic", record: Record{Value: jsonEvent, ContentType: "application/json; charset=utf-8", Timestamp: stamp}, received: stamp},
		{name: "json of a newer client", record: Record{Value: []byte(strings.Replace(string(jsonEvent), "{", `{"newField":1,`, 1)), ContentType: "application/json", Timestamp: stamp}, received: stamp},
		{name: "late, unstamped", record: Record{Value: wire(func(e *ingestv1.WatchEvent) { e.ReceivedAt = 0 }), Timestamp: late}, received: late, skew: late - goodEvent().OccurredAt},
		{name: "imported, unstamped", record: Record{Value: wire(func(e *ingestv1.WatchEvent) { e.ReceivedAt, e.ImportId = 0, "i" }), Timestamp: late}, received: late},
		{name: "other content type", record: Record{Value: wire(same), ContentType: "text/plain"}, reason: ReasonContentType, says: "application/json"},
		{name: "garbage", record: Record{Value: []byte("\xff\xff\xff")}, reason: ReasonNotProto},
		{name: "garbage json", record: Record{Value: []byte("{"), ContentType: "application/json"}, reason: ReasonNotJSON},
		{name: "empty", record: Record{}, reason: ReasonInvalid, says: "event_id"},
		{name: "no clock at all", record: Record{Value: wire(func(e *ingestv1.WatchEvent) { e.ReceivedAt = 0 })}, reason: ReasonInvalid, says: "received_at"},
		{name: "long import", record: Record{Value: wire(func(e *ingestv1.WatchEvent) { e.ImportId = strings.Repeat("i", 65) })}, reason: ReasonInvalid, says: "import_id"},
	}
	var d Decoder
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, refusal := d.Read(tt.record)
			if refusal != nil {
				if refusal.Reason != tt.reason || !strings.Contains(refusal.Error(), tt.says) {
					t.Errorf("refused: %v, want %s … %s", refusal, tt.reason, tt.says)
				}
				return
			}
			if tt.reason != "" {
				t.Fatalf("read %v, want a refusal", e)
			}
			if e.ReceivedAt != tt.received || e.ClockSkew != tt.skew {
				t.Errorf("received_at %d skew %d, want %d and %d", e.ReceivedAt, e.ClockSkew, tt.received, tt.skew)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	e := goodEvent()
	e.ReceivedAt = e.OccurredAt
	data, err := proto.Marshal(e)
	if err != nil {
		b.Fatal(err)
	}
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, refusal := d.Read(Record{Value: data}); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
