package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/ingest/watchevent"
	"marquee/internal/testkit"
)

// now is long ago by the clock of the machine: nothing may depend on the two being one.
var now = time.Date(2024, 11, 23, 12, 0, 0, 0, time.UTC)

// bench is the service over a real broker's protocol and a real RPC connection.
type bench struct {
	t         *testing.T
	cluster   *kfake.Cluster
	newClient ClientFactory
	publisher *Publisher
	service   *Service
	client    ingestv1connect.IngestServiceClient
}

func newBench(t *testing.T, change func(*Config), opts ...connect.ClientOption) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, ingestv1.TopicWatchEvents))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := benchOn(t, func(o ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(o, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}, func() time.Time { return now }, change, opts...)
	b.cluster = cluster
	return b
}

// benchOn is the service over the broker that newClient opens.
func benchOn(t *testing.T, newClient ClientFactory, clock func() time.Time, change func(*Config), opts ...connect.ClientOption) *bench {
	t.Helper()
	b := &bench{t: t, newClient: newClient}
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	var err error
	if b.publisher, err = NewPublisher(cfg, b.newClient, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.publisher.Close)
	if b.service, err = NewService(b.publisher, clock, prometheus.NewRegistry(), testkit.Log(t)); err != nil {
		t.Fatal(err)
	}
	_, handler := ingestv1connect.NewIngestServiceHandler(b.service, HandlerOption())
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	b.client = ingestv1connect.NewIngestServiceClient(server.Client(), server.URL, opts...)
	return b
}

// onBroker returns what the topic holds, by event id.
func (b *bench) onBroker() map[string]*ingestv1.WatchEvent {
	b.t.Helper()
	client, err := b.newClient(kgo.ConsumeTopics(ingestv1.TopicWatchEvents))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	starts, err := adm.ListStartOffsets(b.t.Context(), ingestv1.TopicWatchEvents)
	if err != nil {
		b.t.Fatal(err)
	}
	ends, err := adm.ListEndOffsets(b.t.Context(), ingestv1.TopicWatchEvents)
	if err != nil {
		b.t.Fatal(err)
	}
	var left int64
	starts.Each(func(o kadm.ListedOffset) { left -= o.Offset })
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	events := make(map[string]*ingestv1.WatchEvent)
	for left > 0 {
		fetches := client.PollFetches(b.t.Context())
		if err := fetches.Err(); err != nil {
			b.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			e := new(ingestv1.WatchEvent)
			if err := proto.Unmarshal(r.Value, e); err != nil {
				b.t.Fatal(err)
			}
			if age := time.Since(r.Timestamp); string(r.Key) != e.ProfileId || age < -time.Minute || age > time.Hour {
				b.t.Errorf("record %q of %s has the key of another profile, or is %s old", r.Key, e.ProfileId, age)
			}
			events[e.EventId] = e
			left--
		})
	}
	return events
}

func event(i int) *ingestv1.WatchEvent {
	return &ingestv1.WatchEvent{
		EventId: watchevent.FormatID(watchevent.DeriveID(now.UnixMicro(), fmt.Sprint(i))), SchemaVersion: 1, ProfileId: fmt.Sprintf("p%d", i%10),
		TitleId: "t", Type: ingestv1.EventType_EVENT_TYPE_CLICK, OccurredAt: now.Add(-time.Second).UnixMicro(), ImportId: "forged", ReceivedAt: 7,
	}
}

func some(n int) []*ingestv1.WatchEvent {
	var list []*ingestv1.WatchEvent
	for i := range n {
		list = append(list, event(i))
	}
	return list
}

func TestABrokenEventDoesNotCostItsNeighbours(t *testing.T) {
	for name, opt := range map[string]connect.ClientOption{"connect": connect.WithClientOptions(), "json": connect.WithProtoJSON(), "grpc": connect.WithGRPC()} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil, opt)
			list := some(10)
			list[3].ProfileId, list[3].Country = "", "xx"
			list[7].SeenTitleIds = []string{"a", ""}
			list[8].OccurredAt = now.Add(-watchevent.MaxBehind - time.Hour).UnixMicro()
			resp, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: list}))
			if err != nil {
				t.Fatal(err)
			}
			stored := b.onBroker()
			for i, r := range resp.Msg.Results {
				broken := i == 3 || i == 7
				if int(r.Index) != i || r.EventId != list[i].EventId || r.Accepted == broken || (len(r.Violations) > 0) != broken {
					t.Errorf("result %d: %v", i, r)
				}
				e := stored[r.EventId]
				if (e == nil) != broken {
					t.Errorf("event %d on the broker: %v", i, e)
				}
				if e != nil && (e.ImportId != "" || e.ReceivedAt != now.UnixMicro() || (e.ClockSkew != 0) != (i == 8)) {
					t.Errorf("event %d was stamped %v", i, e)
				}
			}
			if fields := resp.Msg.Results[3].Violations; len(fields) != 2 || fields[0].Field != "profile_id" || fields[1].Field != "country" {
				t.Errorf("violations %v", fields)
			}
			var total int64
			for _, p := range resp.Msg.Positions {
				total += p.Offset + 1
			}
			if total != 8 {
				t.Errorf("positions %v do not cover the 8 accepted events", resp.Msg.Positions)
			}
			if n := testutil.ToFloat64(b.service.rejected.WithLabelValues("seen_title_ids")); n != 1 {
				t.Errorf("%v counted as broken in seen_title_ids", n)
			}
		})
	}
}

func TestBatchSizes(t *testing.T) {
	b := newBench(t, nil)
	for _, n := range []int{0, 1001} {
		_, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: some(n)}))
		if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "1 to 1000") {
			t.Errorf("%d events: %v", n, err)
		}
	}
	if _, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: some(1000)})); err != nil {
		t.Error(err)
	}
}

func TestStream(t *testing.T) {
	b := newBench(t, nil)
	stream := b.client.RecordEventStream(t.Context())
	all := some(5000)
	all[10].EventId, all[4999].TitleId = "no id", ""
	for at := 0; at < len(all); at += 500 {
		if err := stream.Send(&ingestv1.RecordEventStreamRequest{Events: all[at : at+500]}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := stream.CloseAndReceive()
	if err != nil {
		t.Fatal(err)
	}
	m := resp.Msg
	rejected := make(map[uint32]bool)
	for _, r := range m.Rejections {
		rejected[r.Index] = true
	}
	if m.Accepted != 4998 || m.Rejected != 2 || !rejected[10] || !rejected[4999] {
		t.Errorf("accepted %d, rejected %d: %v", m.Accepted, m.Rejected, m.Rejections)
	}
	if n := len(b.onBroker()); n != 4998 {
		t.Errorf("%d events on the broker", n)
	}
}

func TestABrokerThatIsGoneIsUnavailableWithAdvice(t *testing.T) {
	b := newBench(t, func(c *Config) { c.PublishTimeout = time.Second })
	if _, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: some(10)})); err != nil {
		t.Fatal(err)
	}
	b.cluster.Close()
	_, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: some(10)}))
	checkAdvice(t, err)
	stream := b.client.RecordEventStream(t.Context())
	if err := stream.Send(&ingestv1.RecordEventStreamRequest{Events: some(10)}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.CloseAndReceive()
	checkAdvice(t, err)
}

func checkAdvice(t *testing.T, err error) {
	t.Helper()
	var cerr *connect.Error
	if !errors.As(err, &cerr) || cerr.Code() != connect.CodeUnavailable || cerr.Meta().Get("Retry-After") == "" {
		t.Fatalf("got %v, want UNAVAILABLE with Retry-After", err)
	}
	for _, d := range cerr.Details() {
		if v, err := d.Value(); err == nil {
			if info, ok := v.(*errdetails.RetryInfo); ok && info.RetryDelay.AsDuration() > 0 {
				return
			}
		}
	}
	t.Errorf("no retry advice in %v", cerr.Details())
}

// TestNothingIsAcknowledgedBeforeTheBrokerHasIt lets the broker refuse and then take the events.
func TestNothingIsAcknowledgedBeforeTheBrokerHasIt(t *testing.T) {
	b := newBench(t, func(c *Config) { c.PublishTimeout = time.Second })
	// The broker cuts the connection under the first produce requests, so their fate is unknown.
	cuts := 2
	b.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if cuts > 0 {
			cuts--
			b.cluster.KeepControl()
			return nil, errors.New("connection cut"), true
		}
		return nil, nil, false
	})
	for attempt := 0; ; attempt++ {
		_, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: some(10)}))
		if err == nil {
			break
		}
		if attempt == 50 {
			t.Fatal(err)
		}
	}
	if n := len(b.onBroker()); n != 10 {
		t.Errorf("%d distinct events on the broker, want 10", n)
	}
}

func TestTooManyWaitingAreTurnedAway(t *testing.T) {
	b := newBench(t, func(c *Config) { c.PublishBufferEvents, c.Linger = 1000, time.Second })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := b.publisher.Begin(ctx, some(1000)); err != nil {
		t.Fatal(err)
	}
	outcomes, err := b.publisher.Publish(ctx, some(5))
	if !errors.Is(err, ErrBusy) || len(outcomes) != 5 {
		t.Errorf("got %v, %v", outcomes, err)
	}
}

func TestACallerThatLeavesIsNotAnswered(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Linger = time.Second })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.publisher.Publish(ctx, some(3))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnOversizedEventIsNamed(t *testing.T) {
	b := newBench(t, nil)
	list := some(3)
	// A field of some future version, far too large.
	list[1].ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 999, protowire.BytesType), make([]byte, MaxEventBytes)))
	resp, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: list}))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range resp.Msg.Results {
		if r.Accepted != (i != 1) {
			t.Errorf("result %d: %v", i, r)
		}
	}
	if v := resp.Msg.Results[1].Violations; len(v) != 1 || !strings.Contains(v[0].Message, "at most 65536") {
		t.Errorf("violations %v", v)
	}
}

func BenchmarkRecordEvents(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, ingestv1.TopicWatchEvents), kfake.DataDir(b.TempDir()), kfake.SyncWrites())
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	publisher, err := NewPublisher(DefaultConfig(), func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}, prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	defer publisher.Close()
	service, err := NewService(publisher, time.Now, prometheus.NewRegistry(), testkit.Log(b))
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		list := some(100)
		for pb.Next() {
			if _, err := service.RecordEvents(b.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: list})); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "events/s")
}
