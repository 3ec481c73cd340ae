package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"marquee/ann"
	"marquee/training/foldin"
)

func release(titles, dim int, seed uint64) Release {
	rng := rand.New(rand.NewPCG(seed, 1))
	r := Release{Manifest: Manifest{
		AsOf: time.Date(2003, 2, 28, 17, 49, 50, 0, time.UTC), Created: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
		Seed: seed, CodeVersion: "test", Snapshot: Snapshot{Set: "interactions", ID: "s1", FeatureSetHash: "ab12"},
		Profiles: 10, Interactions: 100,
		Params:          foldin.Params{Alpha: 1, Unobserved: 0.3, Lambda: 0.005, Nu: 1},
		Hyperparameters: map[string]any{"epochs": 8},
		Metrics:         map[string]map[string]float64{"als": {"ndcg@10": 0.25}, "popular": {"ndcg@10": 0.11}},
	}}
	for i := range titles {
		r.TitleIDs = append(r.TitleIDs, fmt.Sprintf("t:%d", i))
		r.Popularity = append(r.Popularity, float32(rng.IntN(50)))
		r.Trending = append(r.Trending, rng.Float32())
		for range dim {
			r.Factors = append(r.Factors, float32(rng.NormFloat64()/8))
		}
	}
	return r
}

func written(t testing.TB, r Release) (dir string, m Manifest) {
	t.Helper()
	dir, m, err := Write(context.Background(), t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func opened(t testing.TB, dir string) *Bundle {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, dim := range []int{1, 16, 50, 64} {
		r := release(37, dim, 3)
		dir, m := written(t, r)
		b := opened(t, dir)
		if b.ID() != m.ID || b.Len() != 37 || b.Dim() != dim || filepath.Base(dir) != m.ID {
			t.Fatalf("bundle %s of %d titles and dimension %d in %s", b.ID(), b.Len(), b.Dim(), dir)
		}
		for i, id := range r.TitleIDs {
			row, ok := b.Row(id)
			allTime, trending := b.Popularity(uint32(i))
			if !ok || row != uint32(i) || b.TitleID(row) != id || allTime != r.Popularity[i] || trending != r.Trending[i] ||
				!slices.Equal(b.Factors(row), r.Factors[i*dim:(i+1)*dim]) {
				t.Fatalf("dimension %d: row %d differs from what was written", dim, i)
			}
		}
		if _, ok := b.Row("unknown"); ok {
			t.Error("an unknown title has a row")
		}
		last := float32(math.Inf(1))
		for _, row := range b.MostPopular() {
			v, _ := b.Popularity(row)
			if v > last {
				t.Fatal("most popular titles are out of order")
			}
			last = v
		}
		if len(b.MostTrending()) != 37 {
			t.Error("trending titles are incomplete")
		}
		if got := b.Manifest(); got.Metrics["als"]["ndcg@10"] != 0.25 || got.Params != r.Manifest.Params || !got.AsOf.Equal(r.Manifest.AsOf) {
			t.Errorf("manifest read back as %+v", got)
		}
	}
}

func TestFoldInScoreAndExplain(t *testing.T) {
	b := opened(t, firstOf(written(t, release(200, 50, 4))))
	history := []Interaction{{3, 1}, {17, 0.5}, {44, -0.3}, {100, 2}, {7, 0}}
	x, s := make([]float32, b.Dim()), b.NewScratch()
	if err := b.FoldIn(x, history, s); err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, b.Len())
	b.ScoreAll(scores, x)
	why := make([]float32, len(history))
	for title := range uint32(b.Len()) {
		if err := b.Explain(why, title, history, s); err != nil {
			t.Fatal(err)
		}
		var sum float32
		for _, v := range why {
			sum += v
		}
		if d := math.Abs(float64(sum - scores[title])); d > 2e-6 || math.Abs(float64(b.Score(title, x)-scores[title])) > 1e-6 {
			t.Fatalf("title %d: contributions sum to %v, the score is %v", title, sum, scores[title])
		}
		if why[2] != 0 || why[4] != 0 {
			t.Fatalf("an abandoned title pulls towards title %d by %v", title, why[2])
		}
	}
	hits, _, err := b.Retrieve().Search(x, 5, ann.SearchOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	best := slices.Max(scores)
	if len(hits) != 5 || math.Abs(float64(hits[0].Score-best)) > 1e-6 {
		t.Errorf("the index finds %v first, the best score is %v", hits, best)
	}
	alike, _, err := b.Similar().Search(b.Factors(9), 1, ann.SearchOptions{}, nil)
	if err != nil || alike[0].ID != 9 {
		t.Errorf("the title most like title 9 is %v (%v)", alike, err)
	}
	if n := testing.AllocsPerRun(20, func() {
		if b.FoldIn(x, history, s) != nil || b.Explain(why, 5, history, s) != nil {
			t.Error("fold-in failed")
		}
	}); n != 0 {
		t.Errorf("fold-in and explain allocate %v times", n)
	}
}

func firstOf(dir string, _ Manifest) string { return dir }

func TestFoldInRefuses(t *testing.T) {
	b := opened(t, firstOf(written(t, release(20, 8, 5))))
	x, s := make([]float32, 8), b.NewScratch()
	for name, history := range map[string][]Interaction{
		"row out of range": {{20, 1}}, "NaN": {{1, float32(math.NaN())}}, "infinite": {{1, float32(math.Inf(1))}},
	} {
		if err := b.FoldIn(x, history, s); !errors.Is(err, foldin.ErrInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.FoldIn(x[:3], nil, s); !errors.Is(err, foldin.ErrInput) {
		t.Errorf("short result: %v", err)
	}
	if err := b.FoldIn(x, nil, opened(t, firstOf(written(t, release(20, 16, 5)))).NewScratch()); !errors.Is(err, foldin.ErrInput) {
		t.Errorf("scratch of another dimension: %v", err)
	}
	if err := b.Explain(nil, 99, nil, s); !errors.Is(err, foldin.ErrInput) {
		t.Errorf("explain an unknown row: %v", err)
	}
	x[0] = 7
	if err := b.FoldIn(x, []Interaction{{1, -1}}, s); err != nil || x[0] != 0 {
		t.Errorf("a history of abandoned titles gives %v, %v", x, err)
	}
}

func TestSameReleaseSameBundle(t *testing.T) {
	parent, r := t.TempDir(), release(20, 8, 6)
	first, m1, err := Write(context.Background(), parent, r)
	if err != nil {
		t.Fatal(err)
	}
	r.Manifest.Created = r.Manifest.Created.Add(time.Hour)
	second, m2, err := Write(context.Background(), parent, r)
	if err != nil || second != first || m1.ID != m2.ID || !m2.Created.Equal(m1.Created) {
		t.Errorf("the same release again is %s (%v), want %s", second, err, first)
	}
	r.Manifest.Seed++
	if _, m3, err := Write(context.Background(), parent, r); err != nil || m3.ID == m1.ID {
		t.Errorf("another seed gave the same bundle (%v)", err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d folders left behind, want 2 (%v)", len(entries), err)
	}
	if err := os.Remove(filepath.Join(first, ManifestFile)); err != nil {
		t.Fatal(err)
	}
	r.Manifest.Seed--
	if _, _, err := Write(context.Background(), parent, r); err == nil || !strings.Contains(err.Error(), "damaged bundle") {
		t.Errorf("writing over a damaged bundle: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for name, spoil := range map[string]func(*Release){
		"no titles":               func(r *Release) { *r = Release{} },
		"uneven factors":          func(r *Release) { r.Factors = r.Factors[:5] },
		"popularity short":        func(r *Release) { r.Popularity = r.Popularity[:5] },
		"repeated title":          func(r *Release) { r.TitleIDs[3] = r.TitleIDs[2] },
		"empty id":                func(r *Release) { r.TitleIDs[3] = "" },
		"long id":                 func(r *Release) { r.TitleIDs[3] = strings.Repeat("x", 65) },
		"NaN factor":              func(r *Release) { r.Factors[9] = nan },
		"NaN popularity":          func(r *Release) { r.Popularity[9] = nan },
		"negative trending":       func(r *Release) { r.Trending[9] = -1 },
		"gramian of another size": func(r *Release) { r.Gram = make([]float64, 3) },
		"no as_of":                func(r *Release) { r.Manifest.AsOf = time.Time{} },
		"alpha":                   func(r *Release) { r.Manifest.Params.Alpha = 0 },
		"NaN metric":              func(r *Release) { r.Manifest.Metrics["als"]["x"] = math.NaN() },
	} {
		t.Run(name, func(t *testing.T) {
			r, parent := release(20, 8, 7), t.TempDir()
			spoil(&r)
			if _, _, err := Write(context.Background(), parent, r); err == nil {
				t.Error("accepted")
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) != 0 {
				t.Errorf("left %v behind (%v)", entries, err)
			}
		})
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	edit := func(change func(map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, ManifestFile)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			change(m)
			if data, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		is    error
		want  string
	}{
		{"no manifest", func(t *testing.T, dir string) { remove(t, dir, ManifestFile) }, fs.ErrNotExist, "holds no model bundle"},
		{"missing file", func(t *testing.T, dir string) { remove(t, dir, FactorsFile) }, ErrCorrupt, "item_factors.arrow is missing"},
		{"truncated", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, TitlesFile), 100); err != nil {
				t.Fatal(err)
			}
		}, ErrCorrupt, "titles.arrow has 100 bytes, its manifest says"},
		{"flipped bit", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, RetrieveFile), 200) }, ErrCorrupt, "retrieve.ann has SHA-256"},
		{"later version", edit(func(m map[string]any) { m["format_version"] = 2 }), ErrVersion, "format 2: this program reads 1"},
		{"no version", edit(func(m map[string]any) { delete(m, "format_version") }), ErrCorrupt, "no format_version"},
		{"more titles", edit(func(m map[string]any) { m["titles"] = 21 }), ErrCorrupt, "20 rows, want 21"},
		{"other dimension", edit(func(m map[string]any) { m["dim"] = 9 }), ErrCorrupt, "columns are"},
		{"file not named", edit(func(m map[string]any) { delete(m["files"].(map[string]any), SimilarFile) }), ErrCorrupt, "files must name similar.ann"},
		{"path for a name", edit(func(m map[string]any) { m["files"].(map[string]any)["../x"] = map[string]any{"bytes": 1} }), ErrCorrupt, "not a file of a bundle"},
		{"not JSON", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, ManifestFile), 0) }, ErrCorrupt, "not JSON"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			dir, _ := written(t, release(20, 8, 8))
			tc.spoil(t, dir)
			b, err := Open(dir)
			if err == nil {
				_ = b.Release()
			}
			if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %v saying %q", err, tc.is, tc.want)
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 0x40
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSwapUnderUse replaces the bundle while others read from it. A read of an unmapped file would crash the test.
func TestSwapUnderUse(t *testing.T) {
	dirs := []string{firstOf(written(t, release(500, 16, 9))), firstOf(written(t, release(400, 32, 10)))}
	var live atomic.Pointer[Bundle]
	swap := func(i int) {
		b, err := Open(dirs[i%2])
		if err != nil {
			t.Error(err)
			return
		}
		if old := live.Swap(b); old != nil {
			if err := old.Release(); err != nil {
				t.Error(err)
			}
		}
	}
	swap(0)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				b := live.Load()
				if !b.Acquire() {
					continue // replaced and released since: take its successor
				}
				x, scores := make([]float32, b.Dim()), make([]float32, b.Len())
				if err := b.FoldIn(x, []Interaction{{1, 1}, {2, 1}}, b.NewScratch()); err != nil {
					t.Error(err)
				}
				b.ScoreAll(scores, x)
				if _, _, err := b.Retrieve().Search(x, 3, ann.SearchOptions{}, nil); err != nil {
					t.Error(err)
				}
				if err := b.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 40 {
		swap(i)
	}
	close(done)
	readers.Wait()
	last := live.Load()
	if err := last.Release(); err != nil {
		t.Fatal(err)
	}
	if last.Acquire() {
		t.Error("a fully released bundle was acquired")
	}
	defer func() {
		if recover() == nil {
			t.Error("one release too many went unnoticed")
		}
	}()
	_ = last.Release()
}

func FuzzDecodeManifest(f *testing.F) {
	dir, _ := written(f, release(5, 4, 11))
	good, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format_version":1}`))
	f.Add([]byte(`{"format_version":1e99,"files":null}`))
	f.Add(append(slices.Clone(good), " {}"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeManifest(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("unclassified error %v", err)
			}
			return
		}
		if !ValidID(m.ID) || m.Titles < 1 || m.Dim < 1 {
			t.Fatalf("accepted %+v", m)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeManifest(again); err != nil {
			t.Fatalf("its own encoding is refused: %v", err)
		}
	})
}

// FuzzOpen gives a bundle a file of arbitrary content that its manifest vouches for: opening must fail with an error or
// give a bundle that works.
func FuzzOpen(f *testing.F) {
	names := []string{TitlesFile, FactorsFile, GramianFile, RetrieveFile, SimilarFile, ContentFile, TermsFile}
	source, manifest := written(f, described(f, release(5, 4, 12)))
	content := map[string][]byte{}
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			f.Fatal(err)
		}
		content[name] = data
		f.Add(i, data)
		f.Add(i, data[:len(data)/2])
		for _, at := range []int{8, len(data) / 3, len(data) / 2, len(data) - 12} {
			bad := slices.Clone(data)
			bad[at] ^= 0xff
			f.Add(i, bad)
		}
	}
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		if which < 0 || which >= len(names) || len(data) == 0 {
			return
		}
		dir, m := t.TempDir(), manifest
		m.Files = map[string]File{}
		for _, name := range names {
			d := content[name]
			if name == names[which] {
				d = data
			}
			sum := sha256.Sum256(d)
			m.Files[name] = File{Bytes: int64(len(d)), SHA256: hex.EncodeToString(sum[:])}
			if err := os.WriteFile(filepath.Join(dir, name), d, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ManifestFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Open(dir)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("unclassified error %v", err)
			}
			return
		}
		x, scores := make([]float32, b.Dim()), make([]float32, b.Len())
		if err := b.FoldIn(x, []Interaction{{1, 1}}, b.NewScratch()); err != nil && !errors.Is(err, foldin.ErrSingular) {
			t.Fatal(err)
		}
		b.ScoreAll(scores, x)
		if err := b.Release(); err != nil {
			t.Fatal(err)
		}
	})
}
