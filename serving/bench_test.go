package serving_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	catalogv1 "marquee/catalog/v1"
	ingestv1 "marquee/ingest/v1"
	"marquee/serving"
	"marquee/serving/state"
	servingv1 "marquee/serving/v1"
	"marquee/training/model"
	"marquee/training/model/modeltest"
)

// past is a HistoryLoader that makes up profiles, each fond of two genres.
type past struct {
	profiles, events int
	titles           []*catalogv1.Title
}

func (p past) Load(_ context.Context, _ int, give func(state.Event)) (map[int32]int64, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	for profile := range p.profiles {
		for i := range p.events {
			title := p.titles[rng.IntN(len(p.titles))]
			for range 3 {
				if title.Genres[0] == genreNames()[profile%4] {
					break
				}
				title = p.titles[rng.IntN(len(p.titles))]
			}
			watched := int64(rng.Float64() * film)
			give(state.Event{
				ProfileID: fmt.Sprint("p", profile), TitleID: title.TitleId, PlayID: fmt.Sprint(i), Type: ingestv1.EventType_EVENT_TYPE_PLAY_END,
				At: daysAgo(60 - 50*float64(i)/float64(p.events)), WatchedMS: watched, PositionMS: watched, DurationMS: film,
			})
		}
	}
	return map[int32]int64{}, nil
}

// loadedWorld has 3,700 titles in a release of dimension 64 and 1,000 profiles of 165 plays each.
func loadedWorld(b *testing.B, change ...func(*model.Release)) *world {
	b.Helper()
	all := titles(3700)
	w := newWorld(b, func(_ *serving.Config, d *serving.Deps) {
		d.History = past{profiles: 1000, events: 165, titles: all}
		d.Log = slog.New(slog.DiscardHandler)
	}, func(c *serving.Config, _ *serving.Deps) {
		c.ReleasePoll, c.CatalogRefresh, c.State.TrendingRefresh = time.Minute, time.Minute, time.Second
	})
	w.put(all...)
	w.releases.promote(writeRelease(b, w.releases.dir, all, 1, 64, change...))
	return w.start()
}

func BenchmarkRecommend(b *testing.B) {
	for name, change := range map[string][]func(*model.Release){
		"vectors": nil,
		"towers":  {func(r *model.Release) { r.Towers = modeltest.LargeTowers(b, len(r.TitleIDs)) }},
		"ranker":  {func(r *model.Release) { r.Ranker = modeltest.Forest(b, len(r.TitleIDs)) }},
		"all": {func(r *model.Release) {
			r.Towers, r.Ranker = modeltest.LargeTowers(b, len(r.TitleIDs)), modeltest.Forest(b, len(r.TitleIDs))
		}},
	} {
		b.Run(name, func(b *testing.B) {
			w := loadedWorld(b, change...)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m := &servingv1.RecommendRequest{Viewer: &servingv1.Viewer{ProfileId: fmt.Sprint("p", i%1000), Country: "SE"}}
				if _, err := w.module.Service().Recommend(b.Context(), connect.NewRequest(m)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecommendFiltered has a filter of which a part hangs on titles alone, a part on the request.
func BenchmarkRecommendFiltered(b *testing.B) {
	w := loadedWorld(b)
	for name, filter := range map[string]string{
		"titles": `"Drama" in title.genres`, "request": `"Drama" in title.genres && (viewer.country == "SE" || title.year > 1990)`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m := &servingv1.RecommendRequest{Viewer: &servingv1.Viewer{ProfileId: fmt.Sprint("p", i%1000), Country: "SE"}, Filter: filter}
				if _, err := w.module.Service().Recommend(b.Context(), connect.NewRequest(m)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHomePage(b *testing.B) {
	w := loadedWorld(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m := &servingv1.HomePageRequest{Viewer: &servingv1.Viewer{ProfileId: fmt.Sprint("p", i%1000), Country: "SE"}}
		if _, err := w.module.Service().HomePage(b.Context(), connect.NewRequest(m)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSimilarTitles(b *testing.B) {
	w := loadedWorld(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m := &servingv1.SimilarTitlesRequest{TitleId: fmt.Sprintf("Drama-%d", i%900)}
		if _, err := w.module.Service().SimilarTitles(b.Context(), connect.NewRequest(m)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOverHTTP has eight clients ask over HTTP, from this same process, and reports requests a second and the 99th
// percentile of the time one takes, the client's own work included.
func BenchmarkOverHTTP(b *testing.B) {
	w := loadedWorld(b)
	calls := map[string]func(*servingv1.Viewer) error{
		"Recommend": func(v *servingv1.Viewer) error {
			_, err := w.client.Recommend(b.Context(), connect.NewRequest(&servingv1.RecommendRequest{Viewer: v}))
			return err
		},
		"HomePage": func(v *servingv1.Viewer) error {
			_, err := w.client.HomePage(b.Context(), connect.NewRequest(&servingv1.HomePageRequest{Viewer: v}))
			return err
		},
	}
	for _, name := range []string{"Recommend", "HomePage"} {
		b.Run(name, func(b *testing.B) {
			var next atomic.Int64
			took := make([][]time.Duration, 8)
			b.ReportAllocs()
			b.ResetTimer()
			var clients sync.WaitGroup
			for c := range took {
				clients.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						began := time.Now()
						if err := calls[name](&servingv1.Viewer{ProfileId: fmt.Sprint("p", i%1000), Country: "SE"}); err != nil {
							b.Error(err)
							return
						}
						took[c] = append(took[c], time.Since(began))
					}
				})
			}
			clients.Wait()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}
