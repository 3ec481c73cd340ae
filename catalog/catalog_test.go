package catalog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/catalog/changes"
	"marquee/catalog/store"
	catalogv1 "marquee/catalog/v1"
	"marquee/internal/app"
	"marquee/internal/db"
	"marquee/internal/testkit"
)

var _ app.Module = (*Module)(nil)

// TestMain lets the test binary play a catalogue process that is killed, see TestAKilledProcessLosesNothing.
func TestMain(m *testing.M) {
	if url := os.Getenv("CATALOG_CHILD_URL"); url != "" {
		if err := child(url, os.Getenv("CATALOG_CHILD_BROKER")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child stores titles, one a request, for as long as it lives, and prints each revision once it is acknowledged.
func child(url, seed string) error {
	ctx := context.Background()
	d, err := db.Open(ctx, url, "")
	if err != nil {
		return err
	}
	cfg := DefaultConfig()
	cfg.RelayLease = time.Second
	m, err := New(cfg, d, seeds{seed}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for i := 0; ; i++ {
		title := film(fmt.Sprint("f", i%20))
		title.Year = int32(1 + i%3000)
		resp, err := m.Service().PutTitles(ctx, connect.NewRequest(&catalogv1.PutTitlesRequest{Titles: []*catalogv1.Title{title}}))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, resp.Msg.GetResults()[0].GetRevision())
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// seeds makes clients of the brokers at these addresses.
type seeds []string

func (s seeds) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(s...))...)
}

func newBroker(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.CreateTopic(catalogv1.TopicTitleChanges, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	return c
}

func clientsOf(c *kfake.Cluster) seeds { return c.ListenAddrs() }

func eachEngine(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, testkit.NeedPostgres(t))
	})
}

func openDB(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), url, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// newModule makes a module over its own connection to the database, as another process would have it.
func newModule(t testing.TB, url string, clients Clients) *Module {
	t.Helper()
	cfg := DefaultConfig()
	cfg.RelayLease, cfg.RelayPoll, cfg.RelayBatch = time.Second, 20*time.Millisecond, 7
	m, err := New(cfg, openDB(t, url), clients, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// openOnly opens a module's store without a relay.
func openOnly(t testing.TB) *Module {
	t.Helper()
	m := newModule(t, "sqlite:"+t.TempDir()+"/x.db", seeds{})
	s, err := store.Open(t.Context(), m.db)
	if err != nil {
		t.Fatal(err)
	}
	m.store.Store(s)
	return m
}

// start starts a module and stops it at the end of the test.
func start(t *testing.T, m *Module) *Module {
	t.Helper()
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return m
}

func flush(t *testing.T, m *Module) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := m.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, m *Module, titles ...*catalogv1.Title) []*catalogv1.TitleResult {
	t.Helper()
	resp, err := m.Service().PutTitles(t.Context(), connect.NewRequest(&catalogv1.PutTitlesRequest{Titles: titles}))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Msg.GetResults()
}

// topic reads everything that is in the topic now, in its order.
func topic(t *testing.T, clients Clients) []*catalogv1.Title {
	t.Helper()
	cl, err := clients.NewClient(
		kgo.ConsumeTopics(catalogv1.TopicTitleChanges), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var out []*catalogv1.Title
	end := endOffset(t, clients)
	for next := int64(0); next < end; {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			next = r.Offset + 1
			if r.Attrs.IsControl() {
				continue
			}
			title, err := changes.Decode(r.Key, r.Value)
			if err != nil {
				t.Fatalf("offset %d: %v", r.Offset, err)
			}
			out = append(out, title)
		}
	}
	return out
}

// latest is what a reader of the topic ends up with: the last record of each title, as compaction would leave it.
func latest(t *testing.T, clients Clients) map[string]*catalogv1.Title {
	t.Helper()
	out := make(map[string]*catalogv1.Title)
	for _, title := range topic(t, clients) {
		out[title.GetTitleId()] = title
	}
	return out
}

func describe(titles []*catalogv1.Title) (out []string) {
	for _, title := range titles {
		s := fmt.Sprintf("%s@%d", title.GetTitleId(), title.GetRevision())
		if title.GetDeleted() {
			s += " deleted"
		}
		out = append(out, s)
	}
	return out
}

func film(id string) *catalogv1.Title {
	return &catalogv1.Title{
		TitleId: id, Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Name: "Film " + id, Year: 1999, Genres: []string{"Drama"},
		Availability: []*catalogv1.Window{{}}, MaturityAge: proto.Uint32(12), RuntimeMs: 6_000_000,
	}
}

func series(id string, playables ...string) *catalogv1.Title {
	s := &catalogv1.Season{Number: 1}
	for i, p := range playables {
		s.Episodes = append(s.Episodes, &catalogv1.Episode{PlayableId: p, Number: uint32(i + 1)})
	}
	return &catalogv1.Title{TitleId: id, Kind: catalogv1.TitleKind_TITLE_KIND_SERIES, Name: id, Seasons: []*catalogv1.Season{s}}
}

func TestChangesReachTheTopicInOrder(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		broker := clientsOf(newBroker(t))
		m := start(t, newModule(t, url, broker))
		put(t, m, film("a"), film("b"), series("s", "e1"))
		flush(t, m)
		put(t, m, film("a")) // equal: nothing to publish
		if _, err := m.Service().DeleteTitle(t.Context(), connect.NewRequest(&catalogv1.DeleteTitleRequest{TitleId: "b"})); err != nil {
			t.Fatal(err)
		}
		flush(t, m)
		got := topic(t, broker)
		if want := []string{"a@1", "b@2", "s@3", "b@4 deleted"}; !slices.Equal(describe(got), want) {
			t.Errorf("topic has %q, want %q", describe(got), want)
		}
		want := film("a")
		want.Revision = 1
		if !proto.Equal(got[0], want) {
			t.Errorf("published %v, want %v", got[0], want)
		}
		if err := m.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRestartPublishesWhatWasCommitted commits while no relay runs, as a crash right after the commit leaves it.
func TestRestartPublishesWhatWasCommitted(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		broker := clientsOf(newBroker(t))
		down := start(t, newModule(t, url, seeds{"127.0.0.1:1"})) // its broker is not there
		var titles []*catalogv1.Title
		for i := range 30 {
			titles = append(titles, film(fmt.Sprint("f", i)))
		}
		put(t, down, titles...)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := down.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "30 changed titles are not published yet") {
			t.Errorf("Flush without a broker = %v", err)
		}
		if err := down.Ready(t.Context()); err != nil {
			t.Errorf("without a broker the catalogue should still serve: %v", err)
		}
		down.cut()
		m := start(t, newModule(t, url, broker))
		flush(t, m)
		if got := topic(t, broker); len(got) != 30 || got[29].GetRevision() != 30 {
			t.Errorf("topic has %q", describe(got))
		}
	})
}

// failingOnce fails the clients' first creation, to see that the relay tries again.
type failingOnce struct {
	Clients
	calls chan struct{}
}

func (f failingOnce) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	select {
	case f.calls <- struct{}{}:
		return nil, errors.New("broker is away")
	default:
		return f.Clients.NewClient(opts...)
	}
}

func TestRelayTriesAgain(t *testing.T) {
	broker := clientsOf(newBroker(t))
	m := start(t, newModule(t, "sqlite:"+t.TempDir()+"/x.db", failingOnce{broker, make(chan struct{}, 1)}))
	put(t, m, film("a"))
	flush(t, m)
	if got := describe(topic(t, broker)); !slices.Equal(got, []string{"a@1"}) {
		t.Errorf("topic has %q", got)
	}
}

func TestStopPublishesTheRest(t *testing.T) {
	broker := clientsOf(newBroker(t))
	m := newModule(t, "sqlite:"+t.TempDir()+"/x.db", broker)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var titles []*catalogv1.Title
	for i := range 100 {
		titles = append(titles, film(fmt.Sprint("f", i)))
	}
	put(t, m, titles...)
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := topic(t, broker); len(got) != 100 {
		t.Errorf("topic has %d titles after a clean stop", len(got))
	}
}

func TestBeforeStart(t *testing.T) {
	m := newModule(t, "sqlite:"+t.TempDir()+"/x.db", seeds{})
	if err := m.Ready(t.Context()); err == nil {
		t.Error("ready before the start")
	}
	if err := m.Flush(t.Context()); err == nil {
		t.Error("flushed before the start")
	}
	_, err := m.Service().GetTitle(t.Context(), connect.NewRequest(&catalogv1.GetTitleRequest{TitleId: "x"}))
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("GetTitle before the start = %v", err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if m.Name() != "catalog" {
		t.Error(m.Name())
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	err := Config{RelayLease: time.Hour}.Validate()
	for _, want := range []string{
		"catalog.relay_lease must be between 1s and 10m, is 1h0m0s", "catalog.relay_poll must be between",
		"catalog.relay_batch must be between 1 and 10000, is 0", "catalog.max_title_bytes must be between 1024",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if _, err := New(Config{}, nil, nil, nil, nil); err == nil {
		t.Error("New took a bad config")
	}
}
