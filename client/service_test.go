package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
	"marquee/ingest"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/serving"
	"marquee/serving/v1/servingv1connect"
	"marquee/training/model"
)

// service is ingest and serving over HTTP with a Kafka broker between them, and a door in front that tests may close.
type service struct {
	url string

	mu      sync.Mutex
	calls   []call
	refuse  []int // the status of the next calls, with Retry-After: 1 unless bare
	bare    bool
	closers []func()
}

type call struct{ path, token, connection string }

// noReleases is a source of none: what is popular is recommended.
type noReleases struct{}

func (noReleases) Current(context.Context) (string, error) { return "", nil }

func (noReleases) Open(context.Context, string) (*model.Bundle, error) {
	return nil, errors.New("there is no release")
}

// start starts a service with twelve films. Close ends it.
func start() (_ *service, err error) {
	s := &service{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, ingestv1.TopicWatchEvents))
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, cluster.Close)
	dial := func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}
	log := slog.New(slog.DiscardHandler)
	publisher, err := ingest.NewPublisher(ingest.DefaultConfig(), dial, prometheus.NewRegistry())
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, publisher.Close)
	events, err := ingest.NewService(publisher, time.Now, prometheus.NewRegistry(), log)
	if err != nil {
		return s, err
	}
	titles := changes.NewTitles()
	if err := titles.Apply(context.Background(), films()); err != nil {
		return s, err
	}
	cfg := serving.DefaultConfig()
	cfg.State.TrendingRefresh = 0
	module, err := serving.New(cfg, serving.Deps{Connect: dial, Titles: titles, Releases: noReleases{}, Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		return s, err
	}
	if err := module.Start(context.Background()); err != nil {
		return s, err
	}
	s.closers = append(s.closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := module.Stop(ctx); err != nil {
			panic(err)
		}
	})
	mux := http.NewServeMux()
	mux.Handle(ingestv1connect.NewIngestServiceHandler(events, ingest.HandlerOption()))
	mux.Handle(servingv1connect.NewRecommendationServiceHandler(module.Service()))
	server := httptest.NewServer(s.door(mux))
	s.closers = append(s.closers, server.Close)
	s.url = server.URL
	for deadline := time.Now().Add(30 * time.Second); module.Ready(context.Background()) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return s, errors.New("the service never was ready")
		}
	}
	return s, nil
}

func films() []*catalogv1.Title {
	var out []*catalogv1.Title
	for i := range 12 {
		out = append(out, &catalogv1.Title{
			TitleId: fmt.Sprintf("film-%d", i), Name: fmt.Sprintf("Film %d", i), Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Genres: []string{"Drama"},
			MaturityAge: proto.Uint32(6), Availability: []*catalogv1.Window{{}}, Revision: int64(1 + i), AddedAt: time.Now().UnixMicro(),
		})
	}
	return out
}

// door lets calls in, or refuses them where a test says so.
func (s *service) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls = append(s.calls, call{r.URL.Path, r.Header.Get("Authorization"), r.RemoteAddr})
		status := 0
		if len(s.refuse) > 0 {
			status, s.refuse = s.refuse[0], s.refuse[1:]
		}
		bare := s.bare
		s.mu.Unlock()
		if status == 0 {
			next.ServeHTTP(w, r)
			return
		}
		if !bare {
			w.Header().Set("Retry-After", "1")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		code := map[int]string{http.StatusServiceUnavailable: "unavailable", http.StatusTooManyRequests: "resource_exhausted", http.StatusForbidden: "permission_denied"}[status]
		fmt.Fprintf(w, `{"code":%q}`, code)
	})
}

// Close ends the service.
func (s *service) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// seen are the calls so far.
func (s *service) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

func (s *service) close(bare bool, status ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse, s.bare = status, bare
}
