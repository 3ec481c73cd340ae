// Package ranking computes what a ranker knows of a candidate: the title, the profile as of a moment, how the two meet, and what
// each source of candidates says. Training and serving call the same code, so a feature cannot mean two things.
package ranking

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"marquee/internal/vec"
)

// ErrInput is wrapped by every error about tables that do not fit each other.
var ErrInput = errors.New("cannot compute ranking features")

// recent is how many of a profile's latest titles a candidate is compared with.
const recent = 10

// maxRank is the rank below which all ranks look alike.
const maxRank = 4096

// day in microseconds.
const day = 24 * 60 * 60 * 1e6

// Features of a candidate before those of the sources.
const (
	titlePopularity = iota
	titlePercentile
	titleDecayed
	titleTrend
	titleAge
	titleDays
	titleResponse
	profileTitles
	profileIdle
	profileSpan
	profilePercentile
	profileAge
	matchGenres
	matchBestGenre
	matchAge
	matchPercentile
	similarLast
	similarRecent
	similarMean
	sourcesMean
	sourcesBest
	common // how many there are
)

// perSource is how many features each source has.
const perSource = 3

// Names are the features' names, in the order of a row, for sources of these names:
//
//	title_popularity    logarithm of the share of profiles that met the title
//	title_percentile    share of titles that are less popular, 0 to 1
//	title_decayed       logarithm of its recent popularity relative to the highest
//	title_trend         logarithm of recent over all-time popularity
//	title_age           years since release
//	title_days          days since anybody first met it
//	title_response      clicks on it where it was shown, relative to those that its places there bring
//	profile_titles      logarithm of 1 + the titles the profile met
//	profile_idle        days since the profile last met one
//	profile_span        days between its first and its last
//	profile_percentile  mean of title_percentile over them, by strength
//	profile_age         mean of title_age over them, by strength
//	match_genres        share of the profile's strength in the title's genres, mean over those
//	match_best_genre    the same of the best of them
//	match_age           title_age - profile_age
//	match_percentile    title_percentile - profile_percentile
//	similar_last        cosine with the profile's last title
//	similar_recent      the largest cosine with one of its last ten
//	similar_mean        the mean cosine with those
//	sources_mean        mean of the sources' ranks, a source that says nothing ranking a candidate last
//	sources_best        the best of them
//	SOURCE_score        what the source says
//	SOURCE_ratio        that, relative to the best of the candidates
//	SOURCE_rank         logarithm of 1 + how many of the candidates, 4,095 at most, the source puts above it
//
// What is not known is NaN.
func Names(sources []string) []string {
	out := []string{
		"title_popularity", "title_percentile", "title_decayed", "title_trend", "title_age", "title_days", "title_response",
		"profile_titles", "profile_idle", "profile_span", "profile_percentile", "profile_age",
		"match_genres", "match_best_genre", "match_age", "match_percentile", "similar_last", "similar_recent", "similar_mean",
		"sources_mean", "sources_best",
	}
	for _, s := range sources {
		out = append(out, s+"_score", s+"_ratio", s+"_rank")
	}
	return out
}

// Titles are the columns of a catalogue, a row a title, as of one moment. A nil column is not known of any title.
type Titles struct {
	// Popularity is how many profiles met the title, Decayed the same with old ones weighing less.
	Popularity, Decayed []float32
	// Profiles is the number of profiles there are.
	Profiles int
	// Year is that of release, 0 where unknown.
	Year []int
	// FirstAt is when somebody first met the title: microseconds since the Unix epoch, 0 for nobody.
	FirstAt []int64
	// Response is how often the title is clicked relative to what the places it was shown at bring, 1 for all titles alike.
	Response []float32
	// Genres are numbers below GenreCount.
	Genres     [][]uint16
	GenreCount int
	// Factors are vectors of Dim elements whose cosine says how alike two titles are.
	Factors []float32
	Dim     int
}

// Watch is one title that a profile met.
type Watch struct {
	Row      uint32
	Strength float32 // 0 or more
	At       int64   // last, in microseconds since the Unix epoch
}

// Table is a catalogue ready for Rows. It is immutable and safe for concurrent use.
type Table struct {
	t                               Titles
	popularity, percentile, decayed []float32
	trend, norm                     []float32
	logs                            []float32 // log(1+rank)
	sources                         int
}

// NewTable prepares titles for so many sources.
func NewTable(t Titles, sources int) (*Table, error) {
	n := len(t.Popularity)
	for name, l := range map[string]int{"decayed": len(t.Decayed), "year": len(t.Year), "first_at": len(t.FirstAt), "genres": len(t.Genres), "response": len(t.Response)} {
		if l != 0 && l != n {
			return nil, fmt.Errorf("%w: %d titles have a popularity, %d have %s", ErrInput, n, l, name)
		}
	}
	if len(t.Factors) != 0 && (t.Dim < 1 || len(t.Factors) != n*t.Dim) {
		return nil, fmt.Errorf("%w: %d titles have %d elements of vectors of %d", ErrInput, n, len(t.Factors), t.Dim)
	}
	for row, genres := range t.Genres {
		for _, g := range genres {
			if int(g) >= t.GenreCount {
				return nil, fmt.Errorf("%w: title %d has genre %d of %d", ErrInput, row, g, t.GenreCount)
			}
		}
	}
	out := &Table{t: t, sources: sources}
	out.popularity, out.percentile = logShare(t.Popularity, float64(max(1, t.Profiles))), percentiles(t.Popularity)
	if t.Decayed != nil {
		out.decayed = logShare(t.Decayed, float64(largest(t.Decayed)))
		out.trend = make([]float32, n)
		for i, d := range t.Decayed {
			out.trend[i] = float32(math.Log((float64(d) + 1) / (float64(t.Popularity[i]) + 1)))
		}
	}
	out.logs = make([]float32, maxRank)
	for i := range out.logs {
		out.logs[i] = float32(math.Log1p(float64(i)))
	}
	if t.Factors != nil {
		out.norm = make([]float32, n)
		for i := range out.norm {
			v := t.Factors[i*t.Dim : (i+1)*t.Dim]
			out.norm[i] = float32(math.Sqrt(float64(vec.Dot(v, v))))
		}
	}
	return out, nil
}

// yearOf is a moment as a fraction of years: 1970.5 is its middle.
func yearOf(at int64) float64 { return 1970 + float64(at)/(365.2425*day) }

// age is a title's in years, NaN where its year of release is not known.
func (t *Table) age(row uint32, now float64) float32 {
	if t.t.Year == nil || t.t.Year[row] <= 0 {
		return nan
	}
	return float32(now - float64(t.t.Year[row]))
}

var nan = float32(math.NaN())

func largest(v []float32) float32 {
	var m float32
	for _, x := range v {
		m = max(m, x)
	}
	return m
}

// logShare is log((x+1)/(whole+1)): 0 for the whole.
func logShare(v []float32, whole float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(math.Log((float64(x) + 1) / (whole + 1)))
	}
	return out
}

// percentiles are the shares of values that are less.
func percentiles(v []float32) []float32 {
	sorted := slices.Sorted(slices.Values(v))
	out := make([]float32, len(v))
	for i, x := range v {
		at, _ := slices.BinarySearch(sorted, x)
		out[i] = float32(at) / float32(len(v))
	}
	return out
}

// Width is how many features a row has.
func (t *Table) Width() int { return common + perSource*t.sources }

// Len is how many titles there are.
func (t *Table) Len() int { return len(t.popularity) }

// Scratch is the memory of one call of Rows, to be used again but not by two at once.
type Scratch struct {
	at     int64
	year   float64
	genres []float32
	latest []Watch
	alike  []float32 // vectors of the latest titles, of the length 1
	cosine []float32 // of a candidate with each of them
	ranks  []int32
	order  []uint64
}

// Rows writes the features of each candidate at a moment, in microseconds since the Unix epoch, into dst, candidates x Width in
// row-major order. history is what the profile met, in any order, with rows of this table; scores are, source by source, what it
// says of each candidate: NaN for nothing. dst, and every list of scores, must have the length that follows from that.
func (t *Table) Rows(dst []float32, at int64, history []Watch, candidates []uint32, scores [][]float32, s *Scratch) error {
	if len(dst) != len(candidates)*t.Width() || len(scores) != t.sources {
		return fmt.Errorf("%w: %d features for %d candidates of %d sources", ErrInput, len(dst), len(candidates), len(scores))
	}
	for i, list := range scores {
		if len(list) != len(candidates) {
			return fmt.Errorf("%w: source %d scores %d of %d candidates", ErrInput, i, len(list), len(candidates))
		}
	}
	var shared [common]float32
	s.at, s.year = at, yearOf(at)
	t.profile(&shared, history, s)
	for i, c := range candidates {
		row := dst[i*t.Width() : (i+1)*t.Width()]
		copy(row, shared[:])
		t.title(row, c, s)
		t.match(row, c, s)
	}
	for i, list := range scores {
		t.source(dst, common+i*perSource, list, s)
	}
	t.agree(dst, len(candidates))
	return nil
}

// profile writes what all of a profile's candidates share.
func (t *Table) profile(row *[common]float32, history []Watch, s *Scratch) {
	s.genres = append(s.genres[:0], make([]float32, t.t.GenreCount)...)
	s.latest, s.cosine = append(s.latest[:0], history...), s.cosine[:0]
	if !slices.IsSortedFunc(s.latest, laterFirst) { // as serving keeps them
		slices.SortFunc(s.latest, laterFirst)
	}
	row[profileTitles] = float32(math.Log1p(float64(len(history))))
	row[profileIdle], row[profileSpan], row[profilePercentile], row[profileAge] = nan, nan, nan, nan
	if len(history) == 0 {
		return
	}
	last, first := s.latest[0].At, s.latest[len(history)-1].At
	row[profileIdle], row[profileSpan] = float32(float64(s.at-last)/day), float32(float64(last-first)/day)
	var weight, percentile, dated, age, inGenres float32
	for _, w := range s.latest { // in their order, so that the sums do not hang on the caller's
		weight += w.Strength
		percentile += w.Strength * t.percentile[w.Row]
		if a := t.age(w.Row, s.year); a == a {
			dated += w.Strength
			age += w.Strength * a
		}
		if t.t.Genres != nil {
			for _, g := range t.t.Genres[w.Row] {
				s.genres[g] += w.Strength
			}
			inGenres += w.Strength
		}
	}
	if weight > 0 {
		row[profilePercentile] = percentile / weight
	}
	if dated > 0 {
		row[profileAge] = age / dated
	}
	if inGenres > 0 {
		for g := range s.genres {
			s.genres[g] /= inGenres
		}
	}
	s.latest = s.latest[:min(recent, len(s.latest))]
	t.compare(s)
}

// laterFirst orders titles by when they were met, the last first, and those of one moment by their rows.
func laterFirst(a, b Watch) int { return cmp.Or(cmp.Compare(b.At, a.At), cmp.Compare(a.Row, b.Row)) }

// compare lays out what candidates are compared with: the vectors of the latest titles that have one.
func (t *Table) compare(s *Scratch) {
	s.alike = s.alike[:0]
	if t.norm == nil {
		return
	}
	for _, w := range s.latest {
		if n := t.norm[w.Row]; n != 0 {
			for _, x := range t.vector(w.Row) {
				s.alike = append(s.alike, x/n)
			}
		}
	}
	s.cosine = append(s.cosine[:0], make([]float32, len(s.alike)/t.t.Dim)...)
}

func (t *Table) title(row []float32, c uint32, s *Scratch) {
	row[titlePopularity], row[titlePercentile], row[titleAge] = t.popularity[c], t.percentile[c], t.age(c, s.year)
	row[titleDecayed], row[titleTrend], row[titleDays], row[titleResponse] = nan, nan, nan, nan
	if t.t.Response != nil {
		row[titleResponse] = t.t.Response[c]
	}
	if t.decayed != nil {
		row[titleDecayed], row[titleTrend] = t.decayed[c], t.trend[c]
	}
	if t.t.FirstAt != nil && t.t.FirstAt[c] != 0 {
		row[titleDays] = float32(float64(s.at-t.t.FirstAt[c]) / day)
	}
}

func (t *Table) match(row []float32, c uint32, s *Scratch) {
	row[matchAge], row[matchPercentile] = row[titleAge]-row[profileAge], row[titlePercentile]-row[profilePercentile]
	row[matchGenres], row[matchBestGenre] = nan, nan
	if t.t.Genres != nil && len(t.t.Genres[c]) > 0 {
		var sum, best float32
		for _, g := range t.t.Genres[c] {
			sum, best = sum+s.genres[g], max(best, s.genres[g])
		}
		row[matchGenres], row[matchBestGenre] = sum/float32(len(t.t.Genres[c])), best
	}
	row[similarLast], row[similarRecent], row[similarMean] = nan, nan, nan
	if t.norm == nil || t.norm[c] == 0 || len(s.cosine) == 0 {
		return
	}
	vec.Gemv(s.cosine, s.alike, t.vector(c))
	sum, best := float32(0), s.cosine[0]
	for _, x := range s.cosine {
		sum, best = sum+x, max(best, x)
	}
	if t.norm[s.latest[0].Row] != 0 {
		row[similarLast] = s.cosine[0] / t.norm[c]
	}
	row[similarRecent], row[similarMean] = best/t.norm[c], sum/float32(len(s.cosine))/t.norm[c]
}

func (t *Table) vector(c uint32) []float32 { return t.t.Factors[int(c)*t.t.Dim : (int(c)+1)*t.t.Dim] }

// source writes one source's columns from column at on.
func (t *Table) source(dst []float32, at int, list []float32, s *Scratch) {
	width := t.Width()
	best := rank(list, s)
	for i, x := range list {
		row := dst[i*width+at : i*width+at+perSource]
		row[0], row[1], row[2] = nan, nan, nan
		if x != x {
			continue
		}
		row[0], row[2] = x, t.logs[min(int(s.ranks[i]), len(t.logs)-1)]
		if best > 0 {
			row[1] = x / best
		}
	}
}

// fewCandidates is up to how many it is faster to compare each with each than to sort them.
const fewCandidates = 1000

// rank leaves in s.ranks how many of a list stand above each, equals at the same rank whatever their order, and returns the highest, 0 where
// none is above it. NaN stands nowhere.
func rank(list []float32, s *Scratch) (best float32) {
	if cap(s.ranks) < len(list) {
		s.ranks = make([]int32, len(list))
	}
	s.ranks = s.ranks[:len(list)]
	for _, x := range list {
		if x > best {
			best = x
		}
	}
	if len(list) <= fewCandidates {
		vec.RankAll(s.ranks, list)
		return best
	}
	s.order = s.order[:0]
	for i, x := range list {
		if x == x {
			s.order = append(s.order, uint64(falling(x))<<32|uint64(i))
		}
	}
	slices.Sort(s.order)
	above := int32(0)
	for place, packed := range s.order {
		if place > 0 && packed>>32 != s.order[place-1]>>32 {
			above = int32(place)
		}
		s.ranks[uint32(packed)] = above
	}
	return best
}

// agree writes what the sources say together.
func (t *Table) agree(dst []float32, candidates int) {
	last, width := t.logs[min(candidates, len(t.logs)-1)], t.Width()
	for i := range candidates {
		row := dst[i*width : (i+1)*width]
		if t.sources == 0 {
			row[sourcesMean], row[sourcesBest] = nan, nan
			continue
		}
		sum, best := float32(0), last
		for at := common + perSource - 1; at < width; at += perSource {
			rank := row[at]
			if rank != rank {
				rank = last
			}
			sum, best = sum+rank, min(best, rank)
		}
		row[sourcesMean], row[sourcesBest] = sum/float32(t.sources), best
	}
}

// falling maps numbers to integers in the opposite order; both zeros are one.
func falling(x float32) uint32 {
	b := math.Float32bits(x + 0)
	if b>>31 != 0 {
		return b
	}
	return 1<<31 - 1 - b
}
