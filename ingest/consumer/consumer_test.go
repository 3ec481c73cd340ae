package consumer

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/ingest/sink"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/logid"
)

func TestEverythingReachesBothSinks(t *testing.T) {
	w := newWorld(t)
	w.publish(0, 3000)
	m := w.start(w.module())
	defer w.stop(m)
	w.publish(3000, 2000)
	w.publish(100, 50) // a client that got no answer sends again
	w.caughtUp(m)
	w.check(m)
	if err := m.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if n := m.buffered.Load(); n != 0 {
		t.Errorf("%d bytes still accounted for", n)
	}
}

// TestStoppedAnywhereNothingIsLostOrCutTwice interrupts the work at each point between ledger and sinks.
func TestStoppedAnywhereNothingIsLostOrCutTwice(t *testing.T) {
	for _, point := range []string{"before the warehouse", "after the warehouse", "before the lake", "after the lake"} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t)
			m := w.module()
			reached := make(chan struct{}, 100)
			hang := func(ctx context.Context) error {
				reached <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}
			m.warehouse, m.lake = hangingWarehouse{m.warehouse, point, hang}, hangingLake{m.lake, point, hang}
			w.publish(0, 2000)
			w.start(m)
			await(t, reached)
			w.publish(2000, 500)
			w.crash(m)
			w.publish(2500, 500)

			next := w.start(w.module())
			defer w.stop(next)
			w.caughtUp(next)
			w.check(next)
		})
	}
}

type hangingWarehouse struct {
	warehouseSink
	point string
	hang  func(context.Context) error
}

func (h hangingWarehouse) Write(ctx context.Context, r ledger.Range, b *sink.Batch) error {
	if h.point == "before the warehouse" {
		return h.hang(ctx)
	}
	err := h.warehouseSink.Write(ctx, r, b)
	if h.point == "after the warehouse" {
		return errors.Join(err, h.hang(ctx))
	}
	return err
}

type hangingLake struct {
	lakeSink
	point string
	hang  func(context.Context) error
}

func (h hangingLake) Write(ctx context.Context, r ledger.Range, b *sink.Batch) ([]lake.FileInfo, error) {
	if h.point == "before the lake" {
		return nil, h.hang(ctx)
	}
	files, err := h.lakeSink.Write(ctx, r, b)
	if h.point == "after the lake" {
		return nil, errors.Join(err, h.hang(ctx))
	}
	return files, err
}

func TestTwoConsumersAndARebalanceInMidRange(t *testing.T) {
	w := newWorld(t)
	w.cfg.RevokeTimeout = 100 * time.Millisecond
	w.cfg.BatchEvents = 100
	a := w.module()
	entered := make(chan struct{}, 1000)
	var held sync.Once
	release := make(chan struct{})
	w.warehouse.setHook(func(ctx context.Context, _ ledger.Range) error {
		hold := false
		held.Do(func() { hold = true })
		if hold {
			entered <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	w.publish(0, 2000)
	w.start(a)
	await(t, entered)
	b := w.start(w.module())
	w.publish(2000, 2000)
	eventually(t, "the second consumer gets partitions", func() bool { return b.assigned() > 0 })
	close(release)
	w.caughtUp(b)
	w.check(b)
	w.stop(a)
	w.publish(4000, 1000)
	w.caughtUp(b)
	w.check(b)
	w.stop(b)
}

func TestAFencedWorkerClaimsItsPartitionAgain(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	defer w.stop(m)
	w.publish(0, 500)
	w.caughtUp(m)
	log, err := logid.Of(t.Context(), m.client, topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		if _, _, _, err := m.Ledger().Claim(t.Context(), log, p, "somebody else", 0); err != nil {
			t.Fatal(err)
		}
	}
	w.publish(500, 500)
	w.caughtUp(m)
	w.check(m)
	if n := testutil.ToFloat64(m.metrics.fenced); n == 0 {
		t.Error("nobody was fenced")
	}
}

func TestTransientFailuresAreRepeated(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	failures := 5
	w.warehouse.setHook(func(context.Context, ledger.Range) error {
		mu.Lock()
		defer mu.Unlock()
		if failures > 0 {
			failures--
			return errors.New("connection refused")
		}
		return nil
	})
	m := w.start(w.module())
	defer w.stop(m)
	w.publish(0, 1000)
	w.caughtUp(m)
	w.check(m)
	if n := testutil.ToFloat64(m.metrics.retries.WithLabelValues("warehouse")); n != 5 {
		t.Errorf("%v retries, want 5", n)
	}
}

func TestWhatIsNoEventBecomesADeadLetter(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	defer w.stop(m)
	w.publish(0, 100)
	good, bad := event(1000), event(1001)
	bad.Country = "nowhere"
	goodJSON, err := protojson.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	badProto, err := proto.Marshal(bad)
	if err != nil {
		t.Fatal(err)
	}
	header := func(v string) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: ingestv1.HeaderContentType, Value: []byte(v)}}
	}
	client, err := w.newClient(kgo.DefaultProduceTopic(topic), kgo.ConsumeTopics(ingestv1.TopicDeadLetters))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(),
		&kgo.Record{Value: goodJSON, Headers: header("application/json")},
		&kgo.Record{Value: badProto},
		&kgo.Record{Value: []byte("{"), Headers: header("application/json")},
		&kgo.Record{Value: []byte("\xff\xff"), Key: []byte("k")},
		&kgo.Record{Value: []byte("x"), Headers: header("text/\xff")},
	).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.published[good.EventId] = true
	w.caughtUp(m)
	w.check(m)
	reasons := make(map[string]int)
	for len(reasons) < 4 {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var letter ingestv1.DeadLetter
			if err := proto.Unmarshal(r.Value, &letter); err != nil {
				t.Error(err)
			}
			if letter.Topic != topic || letter.RefusedAt == 0 || len(letter.Value) == 0 {
				t.Errorf("letter %v", &letter)
			}
			for _, reason := range []watchevent.Reason{watchevent.ReasonInvalid, watchevent.ReasonNotJSON, watchevent.ReasonNotProto, watchevent.ReasonContentType} {
				if len(letter.Reason) > len(reason) && letter.Reason[:len(reason)] == string(reason) {
					reasons[string(reason)]++
				}
			}
		})
	}
	for reason, n := range reasons {
		if n != 1 || testutil.ToFloat64(m.metrics.dead.WithLabelValues(reason)) != 1 {
			t.Errorf("%d letters for %s", n, reason)
		}
	}
}

func TestAReplacedLogIsRefused(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	w.publish(0, 1000)
	w.caughtUp(m)
	w.stop(m)

	w.cluster = newCluster(t)
	w.openPublisher()
	w.publish(1000, 2000)
	before := len(w.warehouse.ids())
	var other *logid.OtherError
	if err := w.module().Start(t.Context()); !errors.As(err, &other) {
		t.Fatalf("start on another log: %v", err)
	}
	if after := len(w.warehouse.ids()); after != before {
		t.Errorf("%d events of the new log were stored", after-before)
	}
}

func TestALostLedgerContinuesAfterTheLake(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	w.publish(0, 1000)
	w.caughtUp(m)
	w.stop(m)

	fresh, err := db.Open(t.Context(), "sqlite:"+t.TempDir()+"/fresh.db", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := fresh.Close(); err != nil {
			t.Error(err)
		}
	}()
	w.db = fresh
	m = w.start(w.module())
	w.publish(1000, 1000)
	w.caughtUp(m)
	w.stop(m)
	set, err := events.Open(t.Context(), w.lake)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := set.Count(t.Context()); err != nil || c.Rows != 2000 || c.Events != 2000 {
		t.Errorf("count %+v (%v)", c, err)
	}
}

// TestADamagedLedgerIsRefusedAndMadeUpFromTheLake flips a bit of a partition's next offset, so that events would be skipped, and
// does what the error says.
func TestADamagedLedgerIsRefusedAndMadeUpFromTheLake(t *testing.T) {
	w := newWorld(t)
	w.cfg.BatchEvents = 50
	m := w.start(w.module())
	w.publish(0, 2000)
	w.caughtUp(m)
	w.stop(m)
	if _, err := w.db.ExecContext(t.Context(), "UPDATE ingest_partitions SET next_offset = next_offset + 64 WHERE partition_no = 1"); err != nil {
		t.Fatal(err)
	}
	w.publish(2000, 500)
	err := w.module().Start(t.Context())
	if !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "partition 1 of watch-events") {
		t.Fatalf("started on a damaged ledger: %v", err)
	}
	_, rest, _ := strings.Cut(err.Error(), " run ")
	statements, _, _ := strings.Cut(rest, " in it")
	if _, err := w.db.ExecContext(t.Context(), statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	m = w.start(w.module())
	w.caughtUp(m)
	w.stop(m)
	w.checkEvents()
}

func TestASlowSinkMakesLagAndNotMemory(t *testing.T) {
	w := newWorld(t)
	w.cfg.BatchBytes, w.cfg.BatchEvents = 64<<10, 200
	w.cfg.BufferBytes = 256 << 10
	blocked, release := make(chan struct{}, 100), make(chan struct{})
	w.warehouse.setHook(func(ctx context.Context, _ ledger.Range) error {
		select {
		case blocked <- struct{}{}:
		default:
		}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	const n = 30_000
	w.publish(0, n)
	m := w.start(w.module())
	defer w.stop(m)
	await(t, blocked)
	eventually(t, "fetching is throttled", func() bool { return testutil.ToFloat64(m.metrics.throttled) > 0 })
	// One poll may overshoot, by maxPoll records of some 300 bytes.
	if got, limit := m.buffered.Load(), w.cfg.BufferBytes+maxPoll*400; got > limit {
		t.Errorf("%d bytes held, at most %d are right", got, limit)
	}
	close(release)
	w.caughtUp(m)
	w.check(m)
}

func TestDrainToSaysWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	defer w.stop(m)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := m.DrainTo(ctx, map[int32]int64{2: 41})
	if !errors.Is(err, context.DeadlineExceeded) || !errorsContain(err, "partition 2 is through offset -1 of 41") {
		t.Errorf("got %v", err)
	}
}

// TestALedgerFromAnOlderCopyContinuesAfterTheLake takes the ledger back to where it was before some of the ranges, as a
// restored copy of the database would. The last range of each partition is taken out of the warehouse too: the lake may
// be one range ahead of it.
func TestALedgerFromAnOlderCopyContinuesAfterTheLake(t *testing.T) {
	w := newWorld(t)
	w.cfg.BatchEvents = 50
	m := w.start(w.module())
	w.publish(0, 2000)
	w.caughtUp(m)
	w.stop(m)
	for p := range int32(partitions) {
		ranges, err := m.Ledger().Ranges(t.Context(), topic, p)
		if err != nil || len(ranges) < 3 {
			t.Fatalf("%d ranges (%v)", len(ranges), err)
		}
		w.warehouse.forget(ranges[len(ranges)-1].String())
		back := ranges[len(ranges)/2]
		for _, statement := range []string{
			"UPDATE ingest_partitions SET next_offset = ?, checksum = -1 WHERE partition_no = ?", "DELETE FROM ingest_ranges WHERE first_offset >= ? AND partition_no = ?",
		} {
			if _, err := w.db.ExecContext(t.Context(), statement, back.First, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	m = w.start(w.module())
	w.publish(2000, 500)
	w.caughtUp(m)
	w.stop(m)
	w.checkEvents()
}
