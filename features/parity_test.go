package features_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"marquee/features"
	"marquee/features/online"
	"marquee/features/snapshot"
)

// histories is how many random histories the SQL and its mirror are compared on.
const histories = 10_000

// TestOnlineEqualsSQL builds every set over random histories and compares each field of each row with what features/online
// makes of the same events.
func TestOnlineEqualsSQL(t *testing.T) {
	ctx := context.Background()
	w := newWorld(1)
	for i := range histories {
		n := 1 + w.rng.IntN(25)
		if i < 3 {
			n = 6000 // more plays than a sequence keeps
		}
		w.history("profile:"+strconv.Itoa(i), n)
	}
	conn := openWarehouse(t)
	insert(t, conn, w.events, 50_000)
	b := newBuilder(t, conn)
	snap, err := b.Build(ctx, features.BuildOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	want := w.online(t, asOf)
	total := uint64(0)
	for _, events := range want {
		total += uint64(len(events))
	}
	if snap.Input.Events != total {
		t.Errorf("input has %d events, want %d", snap.Input.Events, total)
	}
	for _, tc := range []struct {
		set     string
		columns int
		want    func(profiles []string, events map[string][]online.Event) []string
		rows    func(t *testing.T, c *snapshot.Columns) []string
	}{
		{"interactions", 12, wantInteractions, gotInteractions},
		{"sequences", 5, wantSequences, gotSequences},
		{"profile_stats", 11, wantStats, gotStats},
		{"title_stats", 15, wantTitles, gotTitles},
	} {
		t.Run(tc.set, func(t *testing.T) {
			s, err := snapshot.Open(ctx, b.Lake, tc.set, snap.ID)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Schema) != tc.columns {
				t.Errorf("the set has %d columns, %d are compared", len(s.Schema), tc.columns)
			}
			var got []string
			for i := range s.Parts {
				c, err := s.ReadPart(ctx, i)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, tc.rows(t, c)...)
			}
			diff(t, got, tc.want(slices.Sorted(maps.Keys(want)), want))
		})
	}
}

// diff compares two lists of rows and shows the first differences.
func diff(t *testing.T, got, want []string) {
	t.Helper()
	if len(want) < 10 {
		t.Fatalf("only %d rows to compare", len(want))
	}
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	shown := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] && shown < 5 {
			shown++
			t.Errorf("row %d:\nSQL    %s\nonline %s", i, got[i], want[i])
		}
	}
}

func wantInteractions(profiles []string, events map[string][]online.Event) []string {
	var out []string
	for _, p := range profiles {
		for _, r := range online.NewHistory(events[p]...).Interactions() {
			out = append(out, fmt.Sprint(p, r.TitleID, r.Strength, r.Plays, r.WatchedMS, r.FirstAt, r.LastAt, name(r.LastType, "EVENT_TYPE_"),
				r.Abandoned, r.Disliked, r.Liked, r.Listed))
		}
	}
	return out
}

func gotInteractions(t *testing.T, c *snapshot.Columns) []string {
	r := reader{t, c}
	var out []string
	for i := range c.Rows {
		out = append(out, fmt.Sprint(r.str("profile_id", i), r.str("title_id", i), r.i32("strength", i), r.u32("plays", i), r.i64("watched_ms", i),
			r.i64("first_at", i), r.i64("last_at", i), r.str("last_type", i), r.is("abandoned", i), r.is("disliked", i), r.is("liked", i), r.is("listed", i)))
	}
	return out
}

func wantSequences(profiles []string, events map[string][]online.Event) []string {
	var out []string
	for _, p := range profiles {
		entries, length := online.NewHistory(events[p]...).Sequence()
		if length > 0 {
			out = append(out, fmt.Sprint(p, length, entries))
		}
	}
	return out
}

func gotSequences(t *testing.T, c *snapshot.Columns) []string {
	r := reader{t, c}
	titles, err1 := c.StringLists("title_ids")
	strengths, err2 := c.Int32Lists("strengths")
	at, err3 := c.Int64Lists("at")
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for i := range c.Rows {
		var entries []online.Entry
		for k, title := range titles.At(i) {
			entries = append(entries, online.Entry{TitleID: title, Strength: strengths.At(i)[k], At: at.At(i)[k]})
		}
		out = append(out, fmt.Sprint(r.str("profile_id", i), r.u32("length", i), entries))
	}
	return out
}

func wantStats(profiles []string, events map[string][]online.Event) []string {
	var out []string
	for _, p := range profiles {
		s := online.NewStats(events[p])
		out = append(out, fmt.Sprint(p, s.Events, s.Titles, s.Plays, s.WatchedMS, s.Sessions, s.SessionMS, s.FirstAt, s.LastAt, s.DeviceClass, s.Country))
	}
	return out
}

func gotStats(t *testing.T, c *snapshot.Columns) []string {
	r := reader{t, c}
	events, err := c.Uint64s("events")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range c.Rows {
		out = append(out, fmt.Sprint(r.str("profile_id", i), events[i], r.u32("titles", i), r.u32("plays", i), r.i64("watched_ms", i), r.u32("sessions", i),
			r.i64("session_ms", i), r.i64("first_at", i), r.i64("last_at", i), r.str("device_class", i), r.str("country", i)))
	}
	return out
}

// title adds a title's statistics up over profiles.
type title struct {
	profiles, plays, finished, abandoned, likes, dislikes, lists uint32
	completion, watched, popularity, week, month, first, last    int64
}

func wantTitles(profiles []string, events map[string][]online.Event) []string {
	titles := map[string]*title{}
	for _, p := range profiles {
		for id, h := range online.NewHistory(events[p]...).Titles {
			if titles[id] == nil {
				titles[id] = &title{first: 1 << 62}
			}
			titles[id].add(h, h.Interaction(id))
		}
	}
	var out []string
	for _, id := range slices.Sorted(maps.Keys(titles)) {
		s := titles[id]
		out = append(out, fmt.Sprint(id, s.profiles, s.plays, s.finished, s.abandoned, s.completion/int64(max(s.plays, 1)), s.watched, s.popularity, s.week, s.month,
			s.likes, s.dislikes, s.lists, s.first, s.last))
	}
	return out
}

func (s *title) add(h *online.Title, r online.Interaction) {
	s.profiles++
	s.first, s.last = min(s.first, r.FirstAt), max(s.last, r.LastAt)
	for _, p := range h.Plays {
		strength, abandoned := p.Strength()
		completion := online.Completion(p.WatchedMS, p.DurationMS)
		age := asOf.UnixMicro() - p.LastAt
		s.plays++
		s.finished += count(completion >= 9000)
		s.abandoned += count(abandoned)
		s.completion += completion
		s.watched += p.WatchedMS
		s.popularity += int64(strength)
		s.week += int64(strength) * online.Decay(age, online.WeekHalfLife)
		s.month += int64(strength) * online.Decay(age, online.MonthHalfLife)
	}
	s.likes += count(r.Liked)
	s.dislikes += count(r.Disliked)
	s.lists += count(r.Listed)
}

func count(is bool) uint32 {
	if is {
		return 1
	}
	return 0
}

func gotTitles(t *testing.T, c *snapshot.Columns) []string {
	r := reader{t, c}
	var out []string
	for i := range c.Rows {
		out = append(out, fmt.Sprint(r.str("title_id", i), r.u32("profiles", i), r.u32("plays", i), r.u32("finished_plays", i), r.u32("abandoned_plays", i),
			r.i32("completion", i), r.i64("watched_ms", i), r.i64("popularity", i), r.i64("popularity_7d", i), r.i64("popularity_30d", i),
			r.u32("likes", i), r.u32("dislikes", i), r.u32("lists", i), r.i64("first_event_at", i), r.i64("last_event_at", i)))
	}
	return out
}

// reader reads single values, failing the test where a column is not what it should be.
type reader struct {
	t *testing.T
	c *snapshot.Columns
}

func (r reader) str(name string, i int) string {
	d, err := r.c.Strings(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return d.At(i)
}

func (r reader) i32(name string, i int) int32  { return value(r.t, r.c.Int32s, name, i) }
func (r reader) i64(name string, i int) int64  { return value(r.t, r.c.Int64s, name, i) }
func (r reader) u32(name string, i int) uint32 { return value(r.t, r.c.Uint32s, name, i) }
func (r reader) is(name string, i int) bool    { return value(r.t, r.c.Bools, name, i) }

func value[T any](t *testing.T, column func(string) ([]T, error), name string, i int) T {
	t.Helper()
	values, err := column(name)
	if err != nil {
		t.Fatal(err)
	}
	return values[i]
}

// TestHalfLives holds the constants of features/online against the numbers in title_stats.sql.
func TestHalfLives(t *testing.T) {
	q, err := features.SetQuery("title_stats")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []time.Duration{online.WeekHalfLife, online.MonthHalfLife} {
		if want := "decay(age, toInt64(" + strconv.FormatInt(h.Microseconds(), 10) + "))"; !strings.Contains(q.SQL, want) {
			t.Errorf("title_stats has no %s", want)
		}
	}
}
