package serving_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"marquee/serving"
	servingv1 "marquee/serving/v1"
	"marquee/training/model"
)

func TestWithoutAReleaseAnswersAreStillAnswers(t *testing.T) {
	w := newWorld(t)
	all := titles(80)
	w.put(all...)
	w.record(w.played("p", "Horror-3", daysAgo(3), 1))
	// Watched long ago and often: what trends does not know it, what is popular does.
	w.record(w.played("q", "Drama-5", daysAgo(900), 1), w.played("r", "Drama-5", daysAgo(901), 1))
	w.start()
	want := []string{serving.ModelUnavailable}
	if popular := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("nobody")}); popular.Titles[0].TitleId != "Drama-5" {
		t.Errorf("the most popular title is %v", popular.Titles[0])
	}
	got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p")})
	if len(got.Titles) != 20 || !slices.Equal(got.Degraded, want) || got.BundleId != "" {
		t.Errorf("%d titles, degraded %q", len(got.Titles), got.Degraded)
	}
	if slices.Contains(titleIDs(got.Titles), "Horror-3") {
		t.Error("a seen title is recommended")
	}
	page := w.home(&servingv1.HomePageRequest{Viewer: viewer("p")})
	checkPage(t, page, 20)
	if len(page.Rows) < 3 || !slices.Equal(page.Degraded, want) {
		t.Errorf("%d rows, degraded %q", len(page.Rows), page.Degraded)
	}
	similar := w.similar(&servingv1.SimilarTitlesRequest{TitleId: "Horror-3", Count: 5})
	if len(similar.Titles) != 5 || !slices.Equal(similar.Degraded, want) {
		t.Errorf("%d similar titles, degraded %q", len(similar.Titles), similar.Degraded)
	}
	id := w.release(all, 1)
	w.releases.promote(id)
	w.awaitRelease(id)
	if got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p")}); len(got.Degraded) > 0 {
		t.Errorf("degraded %q with a release", got.Degraded)
	}
}

func TestABrokenReleaseIsRefused(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := furnished(t, func(_ *serving.Config, d *serving.Deps) { d.Metrics = reg }).start()
	good, all := w.releases.current, titles(80)
	refusals := func() (n float64) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "marquee_serving_release_failures_total" {
				n = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return n
	}
	corrupt := w.release(all, 2)
	file := filepath.Join(w.releases.dir, corrupt, model.FactorsFile)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	// A bundle under another's name is no better than a broken one.
	mislabeled := "20200101T000000Z-mislabeled"
	if err := os.CopyFS(filepath.Join(w.releases.dir, mislabeled), os.DirFS(filepath.Join(w.releases.dir, good))); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{corrupt, "20200101T000000Z-missing", mislabeled} {
		w.releases.promote(id)
		before := refusals()
		// Twice: the first may still be of the one before.
		w.until("refused", func() error {
			if refusals() < before+2 {
				return errors.New("not yet")
			}
			return nil
		})
		got := w.recommend(&servingv1.RecommendRequest{Viewer: viewer("p")})
		if got.BundleId != good || len(got.Degraded) > 0 || len(got.Titles) != 20 {
			t.Errorf("with %s promoted: %d titles from %q, degraded %q", id, len(got.Titles), got.BundleId, got.Degraded)
		}
	}
	next := w.release(all, 3)
	w.releases.promote(next)
	w.awaitRelease(next)
}

// TestReleasesSwapUnderLoad swaps releases, of other sizes and dimensions too, and changes the catalogue while clients ask,
// and wants every request answered in full.
func TestReleasesSwapUnderLoad(t *testing.T) {
	w := furnished(t)
	all := titles(80)
	for i := range 40 {
		w.record(w.played(fmt.Sprint("p", i%8), all[i].TitleId, daysAgo(2), 1))
	}
	w.start()
	var ids []string
	for i := range 6 {
		ids = append(ids, writeRelease(t, w.releases.dir, all[:80-5*i], uint64(10+i), 8+8*(i%3)))
	}
	var stop atomic.Bool
	var answered atomic.Int64
	seen := sync.Map{}
	var clients sync.WaitGroup
	for c := range 6 {
		clients.Go(func() {
			for i := 0; !stop.Load(); i++ {
				v := viewer(fmt.Sprint("p", (c+i)%10))
				r, err := w.client.Recommend(t.Context(), connect.NewRequest(&servingv1.RecommendRequest{Viewer: v, Count: 10, Explain: i%5 == 0}))
				if err != nil || len(r.Msg.Titles) != 10 || len(r.Msg.Degraded) > 0 {
					t.Errorf("Recommend: %v, %v", err, r)
					return
				}
				seen.Store(r.Msg.BundleId, true)
				h, err := w.client.HomePage(t.Context(), connect.NewRequest(&servingv1.HomePageRequest{Viewer: v, RowSize: 5}))
				if err != nil || len(h.Msg.Rows) < 3 {
					t.Errorf("HomePage: %v, %v", err, h)
					return
				}
				answered.Add(2)
			}
		})
	}
	for round := range 18 {
		id := ids[round%len(ids)]
		w.releases.promote(id)
		title := titles(80)[round]
		title.Year++
		w.put(title)
		w.awaitRelease(id)
	}
	stop.Store(true)
	clients.Wait()
	for _, id := range ids {
		if _, ok := seen.Load(id); !ok {
			t.Errorf("no answer came from release %s", id)
		}
	}
	t.Logf("%d answers while 18 releases were swapped", answered.Load())
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	if err := serving.DefaultConfig().Validate(); err != nil {
		t.Fatalf("the defaults are wrong: %v", err)
	}
	tests := []struct {
		spoil func(*serving.Config)
		want  string
	}{
		{func(c *serving.Config) { c.Candidates = 0 }, "serving.candidates must be between 1 and 100000, is 0"},
		{func(c *serving.Config) { c.NewFor = time.Second }, "serving.new_for must be between 1h0m0s and 876000h0m0s, is 1s"},
		{func(c *serving.Config) { c.State.MaxTitles = -1 }, "serving.state.max_titles must be between 1 and 100000, is -1"},
		{func(c *serving.Config) { c.State.TrendingHalfLife = 0 }, "serving.state.trending_half_life must be between 1m0s and 87600h0m0s, is 0s"},
		{func(c *serving.Config) { c.Rank.ColdDiscount = 2 }, "serving.rank.cold_discount must be between 0 and 1, is 2"},
		{func(c *serving.Config) { c.Arrange.ColdShare = 2 }, "serving.arrange.cold_share must be between 0 and 1, is 2"},
		{func(c *serving.Config) { c.Arrange.MinRow = 0 }, "serving.arrange.min_row must be between 1 and 100, is 0"},
	}
	for _, tc := range tests {
		c := serving.DefaultConfig()
		tc.spoil(&c)
		if err := c.Validate(); err == nil || err.Error() != tc.want {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
	if _, err := serving.New(serving.DefaultConfig(), serving.Deps{}); err == nil {
		t.Error("a module of nothing was made")
	}
}
