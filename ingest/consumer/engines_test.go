package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"

	"marquee/features/warehouse"
	"marquee/ingest"
	"marquee/ingest/broker"
	"marquee/ingest/consumer"
	"marquee/ingest/events"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/logid"
	"marquee/internal/native"
	"marquee/internal/testkit"
)

func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

// engines are the real ones.
type engines struct {
	t         testing.TB
	cfg       ingest.Config
	broker    *broker.Broker
	house     *warehouse.Warehouse
	db        *db.DB
	lake      *lake.Lake
	publisher *ingest.Publisher
	service   *ingest.Service
	// metrics are those of the last consumer.
	metrics *prometheus.Registry
}

func openEngines(t testing.TB, brokerURL string) *engines {
	t.Helper()
	dir := t.TempDir()
	return openEnginesIn(t, brokerURL, 1<<20, func(string) string { return dir })
}

// openEnginesIn has each engine in the folder that place gives for its role: broker, warehouse, database, lake. The broker leaves
// keep bytes of its disk free.
func openEnginesIn(t testing.TB, brokerURL string, keep int64, place func(role string) string) *engines {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", "make setup")
	}
	e := &engines{t: t, cfg: ingest.DefaultConfig()}
	e.cfg.Group = fmt.Sprintf("test-%d", rand.Int64())
	ctx, log := t.Context(), testkit.Log(t)
	brokerConfig := broker.DefaultConfig()
	brokerConfig.URL, brokerConfig.MinFreeBytes = brokerURL, keep
	e.broker = must(broker.Open(ctx, brokerConfig, place("broker"), log))(t)
	t.Cleanup(func() { check(t, e.broker.Close()) })
	check(t, e.broker.EnsureTopics(ctx, e.cfg.Topics()...))
	e.house = must(warehouse.Open(ctx, warehouse.DefaultConfig(), place("warehouse"), log))(t)
	t.Cleanup(func() { check(t, e.house.Close()) })
	check(t, e.house.Migrate(ctx))
	e.db = must(db.Open(ctx, "sqlite:", place("database")))(t)
	t.Cleanup(func() { check(t, e.db.Close()) })
	e.lake = must(lake.Open(ctx, "file://"+place("lake")+"/lake"))(t)
	e.publisher = must(ingest.NewPublisher(e.cfg, e.broker.NewClient, prometheus.NewRegistry()))(t)
	t.Cleanup(e.publisher.Close)
	e.service = must(ingest.NewService(e.publisher, time.Now, prometheus.NewRegistry(), log))(t)
	return e
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (e *engines) consumer() *consumer.Module {
	e.t.Helper()
	e.metrics = prometheus.NewRegistry()
	m := must(consumer.New(e.cfg, consumer.Deps{
		NewClient: e.broker.NewClient, DB: e.db, Warehouse: e.house.Conn(), Lake: e.lake, Registerer: e.metrics, Log: testkit.Log(e.t),
	}))(e.t)
	check(e.t, m.Start(e.t.Context()))
	return m
}

// record sends the events from first on, n of them, in batches of 100 over several callers.
func (e *engines) record(first, n int) {
	e.t.Helper()
	var wg sync.WaitGroup
	batches := make(chan int)
	for range 64 {
		wg.Go(func() {
			for at := range batches {
				_, err := e.service.RecordEvents(e.t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: batch(at, 100)}))
				if err != nil {
					e.t.Error(err)
				}
			}
		})
	}
	for at := first; at < first+n; at += 100 {
		batches <- at
	}
	close(batches)
	wg.Wait()
}

func batch(first, n int) []*ingestv1.WatchEvent {
	list := make([]*ingestv1.WatchEvent, n)
	now := time.Now().UnixMicro()
	for i := range list {
		k := first + i
		list[i] = &ingestv1.WatchEvent{
			EventId: watchevent.FormatID(watchevent.DeriveID(now, fmt.Sprint(k))), SchemaVersion: 1, ProfileId: fmt.Sprintf("profile-%d", k%5003),
			TitleId: fmt.Sprintf("title-%d", k%997), PlayId: fmt.Sprintf("play-%d", k/10), Type: ingestv1.EventType_EVENT_TYPE_PROGRESS,
			OccurredAt: now - int64(k%1000), SessionId: fmt.Sprintf("session-%d", k/50), DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TV, Country: "NO",
			Surface: "player", PositionMs: int64(k % 1000), WatchedMs: int64(k % 1000), DurationMs: 6_000_000, RequestId: fmt.Sprintf("request-%d", k/20),
		}
	}
	return list
}

func (e *engines) caughtUp(m *consumer.Module) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*time.Minute)
	defer cancel()
	check(e.t, m.CaughtUp(ctx))
}

// counts returns the events through both readers.
func (e *engines) counts() (inLake events.Count, inHouse uint64) {
	e.t.Helper()
	set := must(events.Open(e.t.Context(), e.lake))(e.t)
	inLake = must(set.Count(e.t.Context()))(e.t)
	check(e.t, e.house.Conn().QueryRow(e.t.Context(), "SELECT count() FROM events").Scan(&inHouse))
	return inLake, inHouse
}

func TestOnRealEngines(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"embedded": func(*testing.T) string { return "embedded:" },
		"kafka":    func(t *testing.T) string { return testkit.NeedKafka(t) },
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngines(t, url(t))
			a := e.consumer()
			e.record(0, 20_000)
			b := e.consumer()
			e.record(20_000, 20_000)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			// With a context that has ended, what is in flight is left to the next owner.
			_ = a.Stop(ended)
			e.record(40_000, 10_000)
			e.caughtUp(b)
			check(t, b.Ready(t.Context()))
			check(t, b.Stop(context.WithoutCancel(t.Context())))
			if inLake, inHouse := e.counts(); inLake.Events != 50_000 || inLake.Rows != 50_000 || inHouse != 50_000 {
				t.Errorf("50000 events acknowledged, lake %+v, warehouse %d", inLake, inHouse)
			}
		})
	}
}

// BenchmarkPipeline measures the way from RecordEvents into both sinks, everything embedded and synced to disk, the making
// of the events included.
func BenchmarkPipeline(b *testing.B) {
	e := openEngines(b, "embedded:")
	m := e.consumer()
	n := 0
	start := time.Now()
	for b.Loop() {
		e.record(n, 20_000)
		n += 20_000
	}
	e.caughtUp(m)
	elapsed := time.Since(start)
	check(b, m.Stop(context.WithoutCancel(b.Context())))
	if inLake, inHouse := e.counts(); inLake.Events != int64(n) || inHouse != uint64(n) {
		b.Errorf("%d events acknowledged, lake %+v, warehouse %d", n, inLake, inHouse)
	}
	b.ReportMetric(float64(n)/elapsed.Seconds(), "events/s")
}

func TestATopicMadeAgainIsAnotherLogOnRealEngines(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"embedded": func(*testing.T) string { return "embedded:" },
		"kafka":    func(t *testing.T) string { return testkit.NeedKafka(t) },
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngines(t, url(t))
			m := e.consumer()
			e.record(0, 1000)
			e.caughtUp(m)
			check(t, m.Stop(context.WithoutCancel(t.Context())))
			client := must(e.broker.NewClient())(t)
			t.Cleanup(client.Close)
			must(kadm.NewClient(client).DeleteTopic(t.Context(), ingestv1.TopicWatchEvents))(t)
			var other *logid.OtherError
			for deadline := time.Now().Add(time.Minute); other == nil; {
				// The topic is there again some moments after both brokers said so.
				err := e.broker.EnsureTopics(t.Context(), e.cfg.Topics()...)
				if err == nil {
					fresh := must(consumer.New(e.cfg, consumer.Deps{
						NewClient: e.broker.NewClient, DB: e.db, Warehouse: e.house.Conn(), Lake: e.lake, Registerer: prometheus.NewRegistry(), Log: testkit.Log(t),
					}))(t)
					if err = fresh.Start(t.Context()); err == nil {
						check(t, fresh.Stop(context.WithoutCancel(t.Context())))
					}
				}
				if !errors.As(err, &other) && time.Now().After(deadline) {
					t.Fatalf("not refused within a minute: %v", err)
				}
			}
			if other.Want.ID == other.Got.ID || other.Want.Cluster != other.Got.Cluster {
				t.Errorf("refused with %v", other)
			}
		})
	}
}
