package serving_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/ann"
	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/testkit"
	"marquee/serving"
	"marquee/serving/state"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
	"marquee/training/foldin"
	"marquee/training/model"
)

const (
	partitions = 4
	film       = 100 * 60_000 // ms
)

// now is the instant the tests serve at.
func now() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func daysAgo(n float64) int64 {
	return now().Add(-time.Duration(n * 24 * float64(time.Hour))).UnixMicro()
}

// world is serving with all it stands on: a Kafka broker, a catalogue, a folder of releases, and a client over HTTP.
type world struct {
	t        testing.TB
	log      *kgo.Client
	catalog  *changes.Titles
	revision int64
	releases *folder
	module   *serving.Module
	client   servingv1connect.RecommendationServiceClient
	plays    int
}

// folder is a ReleaseSource over bundles in a folder.
type folder struct {
	mu      sync.Mutex
	dir     string
	current string
	err     error
}

func (f *folder) Current(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current, f.err
}

func (f *folder) Open(_ context.Context, id string) (*model.Bundle, error) {
	return model.Open(filepath.Join(f.dir, id))
}

func (f *folder) promote(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current = id
}

type option func(*serving.Config, *serving.Deps)

func newWorld(t testing.TB, options ...option) *world {
	t.Helper()
	w := &world{t: t, catalog: changes.NewTitles(), releases: &folder{dir: t.TempDir()}}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, ingestv1.TopicWatchEvents))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	connect := func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}
	if w.log, err = connect(kgo.ProducerLinger(0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.log.Close)
	cfg := serving.DefaultConfig()
	cfg.ReleasePoll, cfg.CatalogRefresh = 10*time.Millisecond, 10*time.Millisecond
	cfg.State.TrendingRefresh = 0
	cfg.SourceTimeout = time.Minute // a busy machine makes sources late, which only one test is about
	deps := serving.Deps{
		Connect: connect, Titles: w.catalog, Releases: w.releases, Clock: state.FixedClock(now()),
		Log: testkit.Log(t), Metrics: prometheus.NewRegistry(),
	}
	for _, o := range options {
		o(&cfg, &deps)
	}
	if w.module, err = serving.New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts the module and a server in front of it.
func (w *world) start() *world {
	w.t.Helper()
	if err := w.module.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(servingv1connect.NewRecommendationServiceHandler(w.module.Service()))
	server := httptest.NewServer(mux)
	w.t.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := w.module.Stop(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.client = servingv1connect.NewRecommendationServiceClient(server.Client(), server.URL)
	w.until("ready", func() error { return w.module.Ready(context.Background()) })
	return w
}

func (w *world) until(what string, ok func() error) {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("never %s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// put changes the catalogue.
func (w *world) put(titles ...*catalogv1.Title) {
	w.t.Helper()
	for _, title := range titles {
		w.revision++
		title.Revision = w.revision
	}
	if err := w.catalog.Apply(w.t.Context(), titles); err != nil {
		w.t.Fatal(err)
	}
}

// watch records events and returns where they are.
func (w *world) record(events ...*ingestv1.WatchEvent) []*servingv1.Position {
	w.t.Helper()
	var out []*servingv1.Position
	for _, e := range events {
		e.EventId = uuid.Must(uuid.NewV7()).String()
		e.SchemaVersion = 1
		value, err := proto.Marshal(e)
		if err != nil {
			w.t.Fatal(err)
		}
		r := &kgo.Record{Topic: ingestv1.TopicWatchEvents, Key: []byte(e.ProfileId), Value: value}
		if err := w.log.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, &servingv1.Position{Partition: r.Partition, Offset: r.Offset})
	}
	return out
}

func (w *world) played(profile, title string, at int64, share float64) *ingestv1.WatchEvent {
	w.plays++
	return &ingestv1.WatchEvent{
		ProfileId: profile, TitleId: title, PlayId: fmt.Sprint("play", w.plays), Type: ingestv1.EventType_EVENT_TYPE_PLAY_END,
		OccurredAt: at, DurationMs: film, WatchedMs: int64(share * film), PositionMs: int64(share * film),
	}
}

func said(profile, title string, typ ingestv1.EventType, at int64) *ingestv1.WatchEvent {
	return &ingestv1.WatchEvent{ProfileId: profile, TitleId: title, Type: typ, OccurredAt: at}
}

func viewer(profile string) *servingv1.Viewer { return &servingv1.Viewer{ProfileId: profile} }

func (w *world) recommend(m *servingv1.RecommendRequest) *servingv1.RecommendResponse {
	w.t.Helper()
	resp, err := w.client.Recommend(w.t.Context(), connect.NewRequest(m))
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Msg
}

func (w *world) home(m *servingv1.HomePageRequest) *servingv1.HomePageResponse {
	w.t.Helper()
	resp, err := w.client.HomePage(w.t.Context(), connect.NewRequest(m))
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Msg
}

func (w *world) similar(m *servingv1.SimilarTitlesRequest) *servingv1.SimilarTitlesResponse {
	w.t.Helper()
	resp, err := w.client.SimilarTitles(w.t.Context(), connect.NewRequest(m))
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Msg
}

func titleIDs(titles []*servingv1.Recommendation) []string {
	out := make([]string, len(titles))
	for i, t := range titles {
		out[i] = t.GetTitleId()
	}
	return out
}

// genres are what the tests' titles are of; a title's vector points the way of its genre.
func genreNames() []string { return []string{"Drama", "Comedy", "Horror", "Western"} }

// titles makes count titles named genre-0, genre-1, … in turn by genre, available everywhere, the first the most popular.
func titles(count int) []*catalogv1.Title {
	out := make([]*catalogv1.Title, count)
	genres := genreNames()
	for i := range out {
		genre := genres[i%len(genres)]
		out[i] = &catalogv1.Title{
			TitleId: fmt.Sprintf("%s-%d", genre, i/len(genres)), Name: fmt.Sprintf("%s %d", genre, i/len(genres)),
			Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Genres: []string{genre}, Year: int32(1980 + i%40),
			AddedAt: daysAgo(1000 + float64(i)), MaturityAge: proto.Uint32(12), Availability: []*catalogv1.Window{{}},
		}
	}
	return out
}

// release writes a bundle of the titles, whose vectors follow their first genre with some noise, and returns its name.
func (w *world) release(titles []*catalogv1.Title, seed uint64) string {
	w.t.Helper()
	return writeRelease(w.t, w.releases.dir, titles, seed, 16)
}

func writeRelease(t testing.TB, dir string, titles []*catalogv1.Title, seed uint64, dim int, change ...func(*model.Release)) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	r := model.Release{
		Manifest: model.Manifest{AsOf: now(), Seed: seed, Params: foldin.Params{Alpha: 10, Unobserved: .1, Lambda: .01, Nu: 1}},
		Index:    ann.Options{Int8: true},
	}
	genre := make(map[string]int)
	for i, title := range titles {
		g, ok := genre[title.Genres[0]]
		if !ok {
			g = len(genre) % dim
			genre[title.Genres[0]] = g
		}
		row := make([]float32, dim)
		for k := range row {
			row[k] = float32(rng.NormFloat64()) * .05
		}
		row[g] += .4
		r.TitleIDs = append(r.TitleIDs, title.TitleId)
		r.Factors = append(r.Factors, row...)
		r.Popularity = append(r.Popularity, float32(len(titles)-i))
		r.Trending = append(r.Trending, float32(i))
	}
	for _, f := range change {
		f(&r)
	}
	return written(t, dir, r)
}

func written(t testing.TB, dir string, r model.Release) string {
	t.Helper()
	_, m, err := model.Write(context.Background(), dir, r)
	if err != nil {
		t.Fatal(err)
	}
	return m.ID
}

// furnished is a world with 80 titles and a release that knows them all.
func furnished(t testing.TB, options ...option) *world {
	t.Helper()
	w := newWorld(t, options...)
	all := titles(80)
	w.put(all...)
	w.releases.promote(w.release(all, 1))
	return w
}

// awaitRelease waits until answers come from a release.
func (w *world) awaitRelease(id string) {
	w.t.Helper()
	w.until("released", func() error {
		if got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("nobody")}).BundleId; got != id {
			return errors.New(got)
		}
		return nil
	})
}
