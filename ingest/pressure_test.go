package ingest

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"marquee/ingest/broker"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/testkit"
)

func openBroker(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	b, err := broker.Open(t.Context(), cfg, t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	topic := broker.TopicSpec{Name: ingestv1.TopicWatchEvents, Partitions: 4, ReplicationFactor: -1, Configs: map[string]string{"cleanup.policy": "delete"}}
	if b.Embedded() {
		// Room is made by whole segments.
		topic.Configs["segment.bytes"] = "16384"
	}
	if err := b.EnsureTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	return b
}

// sent keeps what was sent and what of it was acknowledged.
type sent struct {
	t            *testing.T
	b            *bench
	acknowledged map[string]bool
}

func (s *sent) record(events []*ingestv1.WatchEvent) error {
	resp, err := s.b.client.RecordEvents(s.t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: events}))
	if err != nil {
		return err
	}
	for _, r := range resp.Msg.Results {
		if !r.Accepted {
			s.t.Fatalf("event %d was refused: %v", r.Index, r.Violations)
		}
		s.acknowledged[r.EventId] = true
	}
	return nil
}

// insist sends events until they are acknowledged.
func (s *sent) insist(events []*ingestv1.WatchEvent) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := s.record(events)
		if err == nil {
			return
		}
		checkAdvice(s.t, err)
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

// kept says that everything acknowledged is on the broker.
func (s *sent) kept() {
	s.t.Helper()
	there := s.b.onBroker()
	for id := range s.acknowledged {
		if there[id] == nil {
			s.t.Fatalf("of %d acknowledged events the broker has %d; %s is missing", len(s.acknowledged), len(there), id)
		}
	}
}

func delayOf(t *testing.T, err error) time.Duration {
	t.Helper()
	var cerr *connect.Error
	if errors.As(err, &cerr) {
		for _, d := range cerr.Details() {
			if v, verr := d.Value(); verr == nil {
				if info, ok := v.(*errdetails.RetryInfo); ok {
					return info.RetryDelay.AsDuration()
				}
			}
		}
	}
	t.Fatalf("no retry advice in %v", err)
	return 0
}

func TestAFullBrokerIsUnavailableAndKeepsWhatItAcknowledged(t *testing.T) {
	cfg := broker.DefaultConfig()
	cfg.MaxBatchBytes, cfg.MaxBytes = 64<<10, 192<<10
	log := openBroker(t, cfg)
	b := benchOn(t, log.NewClient, time.Now, nil)
	s := &sent{t: t, b: b, acknowledged: map[string]bool{}}
	var refused []*ingestv1.WatchEvent
	var full error
	for n := 0; full == nil; n++ {
		if n == 1000 {
			t.Fatal("the broker took a hundred thousand events into 192 kB")
		}
		refused = nil
		for i := range 100 {
			refused = append(refused, event(n*100+i))
		}
		full = s.record(refused)
	}
	checkAdvice(t, full)
	if got := delayOf(t, full); got != retryFull {
		t.Errorf("a full broker's advice is to come back in %v, want %v", got, retryFull)
	}
	if len(s.acknowledged) == 0 || testutil.ToFloat64(b.publisher.published.WithLabelValues("full")) == 0 {
		t.Errorf("%d events acknowledged, none counted as refused by a full broker", len(s.acknowledged))
	}
	s.kept()
	if err := makeRoom(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	// The same events are taken now, over the very connection that was refused.
	s.insist(refused)
	if there := b.onBroker(); there[refused[0].EventId] == nil || there[refused[99].EventId] == nil {
		t.Error("events acknowledged after there was room are not there")
	}
}

// makeRoom deletes all but the last records, as retention does.
func makeRoom(ctx context.Context, log *broker.Broker) error {
	client, err := log.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	ends, err := adm.ListEndOffsets(ctx, ingestv1.TopicWatchEvents)
	if err != nil {
		return err
	}
	deleted, err := adm.DeleteRecords(ctx, ends.Offsets())
	return errors.Join(err, deleted.Error())
}

func TestADiskWithoutRoomIsAFullBroker(t *testing.T) {
	cfg := broker.DefaultConfig()
	cfg.MinFreeBytes = 1 << 50
	b := benchOn(t, openBroker(t, cfg).NewClient, time.Now, nil)
	s := &sent{t: t, b: b, acknowledged: map[string]bool{}}
	err := s.record(some(10))
	if checkAdvice(t, err); delayOf(t, err) != retryFull {
		t.Error(err)
	}
}

// TestAKafkaThatHangsIsUnavailableAndLosesNothing stops a real broker's process under load, for longer than events may wait.
func TestAKafkaThatHangsIsUnavailableAndLosesNothing(t *testing.T) {
	server := testkit.NeedKafkaServer(t)
	cfg := broker.DefaultConfig()
	cfg.URL = server.URL()
	log := openBroker(t, cfg)
	b := benchOn(t, log.NewClient, time.Now, func(c *Config) { c.PublishTimeout, c.PublishBufferEvents = time.Second, 2000 })
	s := &sent{t: t, b: b, acknowledged: map[string]bool{}}
	s.insist(some(1000))
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	running := false
	resume := func() {
		if !running {
			running = true
			if err := server.Signal(syscall.SIGCONT); err != nil {
				t.Error(err)
			}
		}
	}
	defer resume()
	var waiting sync.WaitGroup
	var late []*ingestv1.WatchEvent
	for n := range 8 {
		var part []*ingestv1.WatchEvent
		for i := range 500 {
			part = append(part, event(1000+n*500+i))
		}
		late = append(late, part...)
		waiting.Go(func() {
			_, err := b.client.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: part}))
			checkAdviceOf(t, err)
		})
	}
	waiting.Wait()
	if held := b.publisher.client.BufferedProduceRecords(); held > 2000 {
		t.Errorf("%d events wait for a broker that hangs, at most 2000 are right", held)
	}
	if busy := testutil.ToFloat64(b.publisher.published.WithLabelValues("busy")); busy == 0 {
		t.Error("4000 events were taken where 2000 may wait")
	}
	resume()
	for part := range 4 {
		s.insist(late[part*1000 : (part+1)*1000])
	}
	s.kept()
	if n := len(s.acknowledged); n != 5000 {
		t.Errorf("%d events acknowledged in the end, want 5000", n)
	}
}

// checkAdviceOf is checkAdvice for goroutines of a test.
func checkAdviceOf(t *testing.T, err error) {
	var cerr *connect.Error
	if !errors.As(err, &cerr) || cerr.Code() != connect.CodeUnavailable || cerr.Meta().Get("Retry-After") == "" {
		t.Errorf("got %v, want UNAVAILABLE with Retry-After", err)
	}
}
