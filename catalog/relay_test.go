package catalog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/catalog/changes"
	"marquee/catalog/store"
	catalogv1 "marquee/catalog/v1"
	"marquee/internal/logid"
	"marquee/internal/testkit"
)

func endOffset(t *testing.T, clients Clients) int64 {
	t.Helper()
	cl, err := clients.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), catalogv1.TopicTitleChanges)
	if err != nil {
		t.Fatal(err)
	}
	end, ok := ends.Lookup(catalogv1.TopicTitleChanges, 0)
	if !ok {
		t.Fatal("no such topic")
	}
	return end.Offset
}

// agree holds the topic's final state against the store's: the same titles at the same revisions.
func agree(t *testing.T, s *store.Store, clients Clients) {
	t.Helper()
	published := latest(t, clients)
	for id, got := range published {
		want, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatalf("the topic has %s, the store: %v", id, err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("the topic ends at %s revision %d, the store has revision %d", id, got.GetRevision(), want.GetRevision())
		}
	}
	after, more := "", true
	for more {
		titles, rest, err := s.List(t.Context(), after, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, title := range titles {
			after = title.GetTitleId()
			if published[after] == nil {
				t.Errorf("%s revision %d never reached the topic", after, title.GetRevision())
			}
		}
		more = rest
	}
}

// TestTwoProcessesPublishOnce runs two modules on one database and one broker; both are written to. Only one relays, and
// when it stops the other takes over.
func TestTwoProcessesPublishOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		broker := clientsOf(newBroker(t))
		a, b := newModule(t, url, broker), start(t, newModule(t, url, broker))
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for w, m := range []*Module{a, b} {
			writers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(w), 7))
				for i := range 40 {
					title := film(fmt.Sprint("f", random.IntN(10)))
					title.Year = int32(1000*w + i)
					put(t, m, title)
				}
			})
		}
		writers.Wait()
		if err := a.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		put(t, b, film("last"))
		flush(t, b)
		agree(t, b.store.Load(), broker)
		last := int64(0)
		for _, title := range topic(t, broker) {
			if title.GetRevision() <= last {
				t.Errorf("revision %d published after %d", title.GetRevision(), last)
			}
			last = title.GetRevision()
		}
	})
}

// TestAPausedRelayCannotPublishOldNews plays the failure that a lease alone does not stop: a relay that read the outbox, was
// paused past its lease, and goes on publishing after its successor.
func TestAPausedRelayCannotPublishOldNews(t *testing.T) {
	t.Run("kfake", func(t *testing.T) { pausedRelay(t, clientsOf(newBroker(t))) })
	t.Run("kafka", func(t *testing.T) { pausedRelay(t, realKafka(t)) })
}

// realKafka returns clients of a real broker with the topic as the real one is set up.
func realKafka(t *testing.T) Clients {
	t.Helper()
	broker := seeds{strings.TrimPrefix(testkit.StartKafka(t).URL(), "kafka://")}
	cl, err := broker.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	policy := "compact"
	_, err = kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy}, catalogv1.TopicTitleChanges)
	if err != nil {
		t.Fatal(err)
	}
	return broker
}

func pausedRelay(t *testing.T, broker Clients) {
	url := "sqlite:" + t.TempDir() + "/x.db"
	m := newModule(t, url, broker)
	s, err := store.Open(t.Context(), m.db)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := m.db.AcquireLease(t.Context(), leaseName, "paused", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	paused, err := broker.NewClient(kgo.TransactionalID(transactionalID), kgo.DefaultProduceTopic(catalogv1.TopicTitleChanges))
	if err != nil {
		t.Fatal(err)
	}
	defer paused.Close()
	if _, _, err := paused.ProducerID(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), []*catalogv1.Title{film("a")}); err != nil {
		t.Fatal(err)
	}
	old, err := s.Outbox(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	// Now it sleeps. Its lease runs out and another process takes over.
	if _, err := m.db.NewRaw("UPDATE leases SET expires_at = 1").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	successor := start(t, newModule(t, url, broker))
	newer := film("a")
	newer.Name = "newer"
	put(t, successor, newer)
	flush(t, successor)
	// It wakes up and goes on where it was.
	value, err := proto.Marshal(old[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := produce(t.Context(), paused, []*kgo.Record{{Key: []byte("a"), Value: value}}); err == nil {
		t.Error("the broker took records of a relay that was succeeded")
	}
	if err := s.Acknowledge(t.Context(), lease, 10); err == nil {
		t.Error("the store let a succeeded relay empty the outbox")
	}
	agree(t, s, broker)
	if got := latest(t, broker)["a"]; got.GetName() != "newer" {
		t.Errorf("the topic ends at %v", got)
	}
	// A follower gets to the end, which is a transaction's marker.
	titles := changes.NewTitles()
	follower := changes.New("test", broker, titles.Apply, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() {
		if err := follower.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := follower.CaughtUp(ctx); err != nil {
		t.Error(err)
	}
	if got, ok := titles.Get("a"); !ok || got.Name != "newer" {
		t.Errorf("the follower has %+v", got)
	}
	cancel()
	running.Wait()
}

// TestAKilledProcessLosesNothing kills a catalogue in the middle of its writes, several times over; whatever it had
// acknowledged is on the topic after the next start.
func TestAKilledProcessLosesNothing(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		cluster := newBroker(t)
		broker := clientsOf(cluster)
		acknowledged := int64(0)
		for round := range 3 {
			acknowledged = max(acknowledged, runAndKill(t, url, broker[0], 30+20*round))
		}
		m := start(t, newModule(t, url, broker))
		flush(t, m)
		s := m.store.Load()
		if revision, err := s.Revision(t.Context()); err != nil || revision < acknowledged {
			t.Errorf("the catalogue is at revision %d, acknowledged was %d, %v", revision, acknowledged, err)
		}
		agree(t, s, broker)
		before := latest(t, broker)
		cluster.Compact()
		for id, title := range latest(t, broker) {
			if title.GetRevision() != before[id].GetRevision() {
				t.Errorf("compaction left %s at revision %d instead of %d", id, title.GetRevision(), before[id].GetRevision())
			}
		}
	})
}

// runAndKill lets a child write until it has acknowledged some changes, kills it, and returns the last revision it
// acknowledged.
func runAndKill(t *testing.T, url, broker string, writes int) (revision int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "CATALOG_CHILD_URL="+url, "CATALOG_CHILD_BROKER="+broker)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for n := 0; lines.Scan(); n++ {
		if revision, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n == writes {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return revision
}

// TestALostLeaseEndsTheSession takes the lease away from a relay at work; it must come back and publish again.
func TestALostLeaseEndsTheSession(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		broker := clientsOf(newBroker(t))
		m := start(t, newModule(t, url, broker))
		for i := range 3 {
			put(t, m, film(fmt.Sprint("f", i)))
			flush(t, m)
			if _, err := m.db.NewRaw("UPDATE leases SET token = token + 1, expires_at = 1").Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		put(t, m, film("last"))
		flush(t, m)
		agree(t, m.store.Load(), broker)
	})
}

func TestStopWithoutABrokerEnds(t *testing.T) {
	m := newModule(t, "sqlite:"+t.TempDir()+"/x.db", seeds{"127.0.0.1:1"})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, m, film("a"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Stop(ctx); err != nil {
		t.Error(err)
	}
	if n, err := m.store.Load().Pending(t.Context()); err != nil || n != 1 {
		t.Errorf("%d pending, %v: the change must wait for the next start", n, err)
	}
}

// TestTheBrokerRestarts takes the broker away from a relay at work and brings it back with what it has on disk.
func TestTheBrokerRestarts(t *testing.T) {
	dir := t.TempDir()
	on := func(port int) *kfake.Cluster {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SyncWrites(), kfake.Ports(port))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	cluster := on(port)
	if err := cluster.CreateTopic(catalogv1.TopicTitleChanges, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	m := start(t, newModule(t, "sqlite:"+t.TempDir()+"/x.db", clientsOf(cluster)))
	for i := range 3 {
		put(t, m, film("same"), film(fmt.Sprint("before", i)))
		flush(t, m)
		cluster.Close()
		put(t, m, film(fmt.Sprint("while away", i)))
		cluster = on(port)
		flush(t, m)
		agree(t, m.store.Load(), clientsOf(cluster))
	}
	t.Cleanup(cluster.Close)
}

func TestAnotherLogIsPublishedToOnlyWhenAdopted(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		first := newModule(t, url, clientsOf(newBroker(t)))
		put(t, start(t, first), film("a"), film("b"), film("c"))
		flush(t, first)
		if err := first.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}

		other := clientsOf(newBroker(t))
		second := newModule(t, url, other)
		put(t, start(t, second), film("d"))
		var refused *logid.OtherError
		if err := second.Flush(t.Context()); !errors.As(err, &refused) {
			t.Fatalf("flush to another log: %v", err)
		}
		if err := second.Ready(t.Context()); !errors.As(err, &refused) {
			t.Errorf("ready: %v", err)
		}
		if err := second.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := endOffset(t, other); n != 0 {
			t.Errorf("%d records were published to a log that was not adopted", n)
		}

		client, err := other.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		log, err := logid.Of(t.Context(), client, catalogv1.TopicTitleChanges)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := AdoptLog(t.Context(), second.db, log); n != 4 || err != nil {
			t.Errorf("%d titles wait after the adoption (%v)", n, err)
		}
		third := start(t, newModule(t, url, other))
		flush(t, third)
		if got := latest(t, other); len(got) != 4 {
			t.Errorf("%d titles in the new log, want 4", len(got))
		}
		if n, err := AdoptLog(t.Context(), third.db, log); n != 0 || err != nil {
			t.Errorf("adopting again: %d titles wait (%v)", n, err)
		}
	})
}
