package watchevent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	ingestv1 "marquee/ingest/v1"
)

func batchOf(n int) *ingestv1.RecordEventsRequest {
	req := &ingestv1.RecordEventsRequest{}
	for i := range n {
		e := &ingestv1.WatchEvent{
			EventId: "01930d5e-5c00-7000-8000-000000000000", SchemaVersion: 1, ProfileId: "prf_0000012345", TitleId: "tt0001009",
			PlayableId: "tt0001009_s01e02", PlayId: "play", Type: ingestv1.EventType_EVENT_TYPE_PROGRESS, OccurredAt: 1_790_000_000_000_000 + int64(i),
			SessionId: "session", DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TV, Country: "NO", Surface: "player", Autoplay: i%2 == 0,
			PositionMs: int64(i), WatchedMs: int64(i), DurationMs: 6_000_000, RequestId: "request", Row: proto.Uint32(uint32(i)),
		}
		if i%10 == 0 {
			e.Row, e.Rank, e.SeenTitleIds = nil, proto.Uint32(0), []string{"a", "b"}
			e.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), uint64(i)))
		}
		req.Events = append(req.Events, e)
	}
	return req
}

func TestABatchIsReadAsProtobufReadsIt(t *testing.T) {
	for _, n := range []int{0, 1, 100} {
		want := batchOf(n)
		data, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		// A newer client's field of the request itself.
		data = protowire.AppendBytes(protowire.AppendTag(data, 7, protowire.BytesType), []byte("new"))
		got, err := DecodeBatch(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Events, got, protocmp.Transform()); diff != "" {
			t.Errorf("%d events (-want +got):\n%s", n, diff)
		}
	}
}

// FuzzDecodeBatch holds DecodeBatch to proto.Unmarshal: the same verdict, and the same events.
func FuzzDecodeBatch(f *testing.F) {
	for _, n := range []int{0, 1, 3} {
		data, err := proto.Marshal(batchOf(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte{0x0b, 0x0c})
	f.Fuzz(func(t *testing.T, data []byte) {
		var want ingestv1.RecordEventsRequest
		wantErr := proto.Unmarshal(data, &want)
		got, err := DecodeBatch(data)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("proto.Unmarshal says %v, DecodeBatch %v", wantErr, err)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(want.Events, got, protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func BenchmarkDecodeBatch(b *testing.B) {
	data, err := proto.Marshal(batchOf(100))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeBatch(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("proto", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(data, new(ingestv1.RecordEventsRequest)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
