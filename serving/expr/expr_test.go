package expr_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
	"marquee/serving/expr"
)

func newCompiler(t testing.TB) *expr.Compiler {
	t.Helper()
	c, err := expr.NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var now = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)

func alien() *changes.Title {
	return &changes.Title{
		ID: "t1", Name: "Alien", Language: "en", Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Year: 1979, MaturityAge: 16,
		AddedAt: now.Add(-48 * time.Hour).UnixMicro(), RuntimeMS: 117 * 60_000, Genres: []string{"Horror", "Sci-Fi"},
	}
}

// bare is a title of which the catalogue knows nothing.
func bare() *changes.Title { return &changes.Title{ID: "t2", MaturityAge: changes.Unrated} }

func onTV() *expr.Request {
	return &expr.Request{Country: "NO", DeviceClass: "tv", MaxMaturityAge: -1, Now: now.UnixMicro()}
}

func TestFilters(t *testing.T) {
	c := newCompiler(t)
	for text, want := range map[string]struct{ alien, bare, fixed bool }{
		`title.year > 1970`:                                                                    {true, false, true},
		`title.year > 1970 || title.id == "t2"`:                                                {true, true, true},
		`!has(title.year) || title.year > 1980`:                                                {false, true, true},
		`"Horror" in title.genres`:                                                             {true, false, true},
		`title.genres.exists(g, g.startsWith("Sci"))`:                                          {true, false, true},
		`title.kind == "film" && title.language == "en"`:                                       {true, false, true},
		`title.maturity_age <= 12`:                                                             {false, false, true},
		`title.runtime < duration("2h")`:                                                       {true, false, true},
		`title.name.matches("^Ali")`:                                                           {true, false, true},
		`title.episodes == 0`:                                                                  {true, true, true},
		`viewer.device_class == "tv" && title.year < 1980`:                                     {true, false, false},
		`viewer.device_class == "phone" || title.id == "t1"`:                                   {true, false, false},
		`now - title.added_at < duration("72h")`:                                               {true, false, false},
		`viewer.country == "SE" || title.year > 1970`:                                          {true, false, false},
		`title.year > 1980 || viewer.country == "NO"`:                                          {true, true, false},
		`viewer.country == "SE" || title.id == "t2" || now - title.added_at < duration("72h")`: {true, true, false},
		`!has(viewer.max_maturity_age)`:                                                        {true, true, false},
		`viewer.max_maturity_age > 0`:                                                          {false, false, false},
		`true`:                                                                                 {true, true, true},
		`Title{year: 1979}.year == 1979`:                                                       {false, false, true}, // titles are not made
		`viewer.country in ["NO", "SE"] && "Comedy" in title.genres`:                           {false, false, false},
	} {
		f, err := c.Filter(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		holds := func(title *changes.Title) bool { return f.Holds(title) && f.HoldsNow(title, onTV()) }
		for _, title := range []*changes.Title{alien(), bare()} {
			if rest, more := f.Settle(onTV(), nil); !more {
				settled := !slices.ContainsFunc(rest, func(f *expr.Filter) bool { return !f.Holds(title) })
				if settled != f.HoldsNow(title, onTV()) {
					t.Errorf("%s of %s: settled it is %v, asked %v", text, title.ID, settled, !settled)
				}
			}
		}
		if holds(alien()) != want.alien || holds(bare()) != want.bare || f.Fixed() != want.fixed {
			t.Errorf("%s: Alien %v, a bare title %v, fixed %v; want %+v", text, holds(alien()), holds(bare()), f.Fixed(), want)
		}
	}
}

// TestConjunctsAreToldApart: of a filter that hangs on the request only in part, the rest can be asked of titles once.
func TestConjunctsAreToldApart(t *testing.T) {
	f, err := newCompiler(t).Filter(`title.year > 1990 && (viewer.country == "NO" && title.language == "en")`)
	if err != nil {
		t.Fatal(err)
	}
	if f.Fixed() || f.Holds(alien()) || !f.HoldsNow(alien(), onTV()) {
		t.Errorf("fixed %v, holds %v, holds now %v", f.Fixed(), f.Holds(alien()), f.HoldsNow(alien(), onTV()))
	}
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	c := newCompiler(t)
	for text, want := range map[string]string{
		`title.yeer > 1970`:                   `column 6: undefined field 'yeer': title has id, name, kind, language, year`,
		`titel.year > 1970`:                   `column 1: undeclared reference to 'titel': there are title, viewer and now`,
		`title.year == "1970"`:                `column 12: found no matching overload for '_==_'`,
		`title.year >`:                        `column 13: Syntax error`,
		"title.year > 1970 &&\n title.x == 1": `line 2, column 7: undefined field 'x'`,
		`title.year`:                          `its value must be a bool, is int`,
		``:                                    `column 1: Syntax error`,
		`title.genres.all(a, title.genres.all(b, title.genres.all(c, title.genres.all(d, a + b + c + d != ""))))`: `steps for a title, at most`,
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100):                                              `recursion`,
		`title.name == "` + strings.Repeat("x", 5000) + `"`:                                                       `it has 5016 bytes, at most 4096`,
	} {
		_, err := c.Filter(text)
		if !errors.Is(err, expr.ErrExpression) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
		if _, again := c.Filter(text); again == nil || again.Error() != err.Error() {
			t.Errorf("%.60s: the second time: %v", text, again)
		}
	}
	if _, err := c.Boost(`title.kind`); err == nil || !strings.Contains(err.Error(), "must be a double or an int, is string") {
		t.Errorf("a boost that is a text: %v", err)
	}
}

func TestBoosts(t *testing.T) {
	c := newCompiler(t)
	for text, want := range map[string]struct {
		alien, bare float32
		fixed       bool
	}{
		`"Horror" in title.genres ? 1.5 : 0.5`: {1.5, .5, true},
		`2`:                                    {2, 2, true},
		`double(title.year) / 1979.0`:          {1, 1, true}, // none for the one without a year
		`-3.0`:                                 {0, 0, true},
		`1e9`:                                  {expr.MaxBoost, expr.MaxBoost, true},
		`0.0 / 0.0`:                            {1, 1, true},
		`viewer.device_class == "tv" ? 3 : 1`:  {3, 3, false},
		`title.id == "t1" && now > now ? 7.0 : 1.0`: {1, 1, false},
	} {
		b, err := c.Boost(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if a, z := b.Of(alien(), onTV()), b.Of(bare(), onTV()); a != want.alien || z != want.bare || b.Fixed() != want.fixed {
			t.Errorf("%s: %v and %v, fixed %v; want %+v", text, a, z, b.Fixed(), want)
		}
	}
}

func TestRecentMakesOnceAndForgetsTheOldest(t *testing.T) {
	r := expr.NewRecent[int, string](10)
	var mu sync.Mutex
	made := map[int]int{}
	get := func(k int) string {
		return r.Get(k, func() string {
			mu.Lock()
			defer mu.Unlock()
			made[k]++
			return fmt.Sprint(k)
		})
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for k := range 10 {
				if got := get(k); got != fmt.Sprint(k) {
					t.Errorf("%d: %s", k, got)
				}
			}
		})
	}
	wg.Wait()
	for k, n := range made {
		if n != 1 {
			t.Errorf("%d was made %d times", k, n)
		}
	}
	for k := range 1000 {
		get(5) // never forgotten: it is asked for all the time
		get(k + 100)
	}
	get(5)
	get(0)
	if made[5] != 1 || made[0] != 2 {
		t.Errorf("the one in use was made %d times, the forgotten one %d", made[5], made[0])
	}
}

// FuzzFilter: no text makes the compiler or what it compiles fail in any other way than with an error.
func FuzzFilter(f *testing.F) {
	for _, text := range []string{`title.year > 1970`, `title.genres.exists(g, g == "x")`, `viewer.country + title.name == "x"`, `[1, 2][title.year]`, `{title: 1}`, `title`, `title == title`, `type(title) == type(viewer)`, `1 / 0 == title.year`} {
		f.Add(text)
	}
	c := newCompiler(f)
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := c.Filter(text)
		if err != nil {
			if !errors.Is(err, expr.ErrExpression) {
				t.Fatal(err)
			}
			return
		}
		for _, title := range []*changes.Title{alien(), bare()} {
			filter.Holds(title)
			filter.HoldsNow(title, onTV())
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	f, err := newCompiler(b).Filter(`title.year > 1970 && "Horror" in title.genres`)
	if err != nil {
		b.Fatal(err)
	}
	titles := make([]*changes.Title, 1000)
	for i := range titles {
		titles[i] = alien()
		titles[i].Year = int32(1950 + rand.IntN(70))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.Holds(titles[i%len(titles)])
	}
}
