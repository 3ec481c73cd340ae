package online

import (
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ingestv1 "marquee/ingest/v1"
)

const minute = 60_000

func TestPlayStrength(t *testing.T) {
	tests := []struct {
		name              string
		watched, duration int64
		autoplay          bool
		want              int32
		abandoned         bool
	}{
		{"nothing", 0, 0, false, 0, true},
		{"film in full", 100 * minute, 100 * minute, false, One, false},
		{"film more than in full", 130 * minute, 100 * minute, false, One, false},
		{"half a film", 50 * minute, 100 * minute, false, 7500, false},
		{"half an episode", 20 * minute, 40 * minute, false, 5000, false},
		{"half a short", 5 * minute, 10 * minute, false, 2500, false},
		{"half a film on autoplay", 50 * minute, 100 * minute, true, 3750, false},
		{"rating 1 of 5", 20 * minute, 100 * minute, false, 3600, false},
		{"under 5%", 5*minute - 1, 100 * minute, false, 0, true},
		{"just 5%", 5 * minute, 100 * minute, false, 975, false},
		{"under a minute", minute - 1, 10 * minute, false, 0, true},
		{"just a minute", minute, 10 * minute, false, 100, false},
		{"length unknown, under a minute", minute - 1, 0, false, 0, true},
		{"length unknown", minute, 0, false, 5000, false},
		{"length unknown, autoplay", 90 * minute, 0, true, 2500, false},
		{"a clip in full", 45_000, 45_000, false, One, false},
		{"half a clip", 22_501, 45_001, false, 2500, false},
		{"under half a clip", 22_500, 45_001, false, 0, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, abandoned := PlayStrength(tc.watched, tc.duration, tc.autoplay)
			if got != tc.want || abandoned != tc.abandoned {
				t.Errorf("got %d, %v, want %d, %v", got, abandoned, tc.want, tc.abandoned)
			}
		})
	}
}

func TestPlayStrengthIsMonotone(t *testing.T) {
	for _, duration := range []int64{0, 30_000, 119_999, 120_000, 10 * minute, shortMS - 1, shortMS, mediumMS - 1, mediumMS, 200 * minute} {
		for _, autoplay := range []bool{false, true} {
			before := int32(0)
			for watched := int64(0); watched < 210*minute; watched += 997 {
				s, abandoned := PlayStrength(watched, duration, autoplay)
				if s < before || s > One || abandoned && s != 0 {
					t.Fatalf("watched %d of %d: strength %d after %d", watched, duration, s, before)
				}
				before = s
			}
		}
	}
}

// TestDecayIsTheSQLsTable compares every weight of the first half-life with the numbers in the definition.
func TestDecayIsTheSQLsTable(t *testing.T) {
	sql, err := os.ReadFile("../defs/decay.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(sql), "arrayElement([")
	list, _, _ = strings.Cut(list, "]")
	table := regexp.MustCompile(`\d+`).FindAllString(list, -1)
	if len(table) != 64 {
		t.Fatalf("the table has %d numbers", len(table))
	}
	halfLife := 64 * time.Hour
	for i, want := range table {
		age := int64(i) * time.Hour.Microseconds()
		if got := strconv.FormatInt(Decay(age, halfLife), 10); got != want {
			t.Errorf("weight %d is %s, in SQL %s", i, got, want)
		}
	}
	day := 24 * time.Hour
	for _, tc := range []struct{ age, want int64 }{
		{-5, 1e6}, {0, 1e6}, {day.Microseconds(), 5e5}, {2*day.Microseconds() - 1, 252722}, {2 * day.Microseconds(), 25e4},
		{20 * day.Microseconds(), 0}, {1 << 62, 0},
	} {
		if got := Decay(tc.age, day); got != tc.want {
			t.Errorf("Decay(%d days) = %d, want %d", tc.age/day.Microseconds(), got, tc.want)
		}
	}
}

func event(id byte, typ ingestv1.EventType, at int64) Event {
	return Event{ID: [16]byte{15: id}, Type: typ, At: at, ReceivedAt: at, TitleID: "t"}
}

func play(id byte, typ ingestv1.EventType, at int64, playID string, watched int64) Event {
	e := event(id, typ, at)
	e.PlayID, e.WatchedMS, e.DurationMS = playID, watched, 100*minute
	return e
}

const (
	start   = ingestv1.EventType_EVENT_TYPE_PLAY_START
	going   = ingestv1.EventType_EVENT_TYPE_PROGRESS
	end     = ingestv1.EventType_EVENT_TYPE_PLAY_END
	click   = ingestv1.EventType_EVENT_TYPE_CLICK
	like    = ingestv1.EventType_EVENT_TYPE_LIKE
	dislike = ingestv1.EventType_EVENT_TYPE_DISLIKE
	never   = ingestv1.EventType_EVENT_TYPE_NOT_INTERESTED
	add     = ingestv1.EventType_EVENT_TYPE_LIST_ADD
	remove  = ingestv1.EventType_EVENT_TYPE_LIST_REMOVE
)

func TestInteraction(t *testing.T) {
	tests := []struct {
		name   string
		events []Event
		want   Interaction
	}{
		{"click", []Event{event(1, click, 5)}, Interaction{Strength: 500, FirstAt: 5, LastAt: 5, LastType: click}},
		{"listed", []Event{event(1, remove, 5), event(2, add, 6)}, Interaction{Strength: 2000, FirstAt: 5, LastAt: 6, LastType: add, Listed: true}},
		{"taken off the list", []Event{event(1, add, 5), event(2, remove, 6)}, Interaction{FirstAt: 5, LastAt: 6, LastType: remove}},
		{"liked after dislike", []Event{event(1, dislike, 5), event(2, like, 6)}, Interaction{Strength: One, FirstAt: 5, LastAt: 6, LastType: like, Liked: true}},
		{
			"disliked after like and watch", []Event{event(1, like, 5), play(2, end, 6, "a", 100*minute), event(3, never, 7)},
			Interaction{Plays: 1, WatchedMS: 100 * minute, FirstAt: 5, LastAt: 7, LastType: never, Disliked: true},
		},
		{"at one instant the greater id is later", []Event{event(9, dislike, 5), event(3, like, 5)}, Interaction{FirstAt: 5, LastAt: 5, LastType: dislike, Disliked: true}},
		{
			"a play counts its maximum once", []Event{play(1, start, 1, "a", 0), play(3, end, 9, "a", 30*minute), play(2, going, 8, "a", 50*minute)},
			Interaction{Strength: 7500, Plays: 1, WatchedMS: 50 * minute, FirstAt: 1, LastAt: 9, LastType: end},
		},
		{
			"abandoned twice", []Event{play(1, end, 1, "a", minute), play(2, end, 2, "b", 2*minute), event(3, click, 3)},
			Interaction{Plays: 2, WatchedMS: 3 * minute, FirstAt: 1, LastAt: 3, LastType: click, Abandoned: true},
		},
		{
			"abandoned once", []Event{play(1, end, 1, "a", minute), play(2, end, 2, "b", 50*minute)},
			Interaction{Strength: 7500, Plays: 2, WatchedMS: 51 * minute, FirstAt: 1, LastAt: 2, LastType: end},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.TitleID = "t"
			got := NewHistory(tc.events...).Interactions()
			if !reflect.DeepEqual(got, []Interaction{tc.want}) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestStrengthIsCapped(t *testing.T) {
	h := NewHistory()
	for i := range 40 {
		e := play(byte(i), end, int64(i), strconv.Itoa(i), 100*minute)
		h.Apply(&e)
	}
	if got := h.Interactions()[0].Strength; got != MaxStrength {
		t.Errorf("strength %d, want %d", got, MaxStrength)
	}
	entries, length := h.Sequence()
	if want := []Entry{{"t", MaxStrength, 39}}; !slices.Equal(entries, want) || length != 1 {
		t.Errorf("sequence %v of %d, want %v", entries, length, want)
	}
}

func TestSequenceKeepsTheLatest(t *testing.T) {
	h := NewHistory()
	for i := range MaxSequence + 7 {
		e := play(byte(i), end, int64(i), "p", 100*minute)
		e.ID[0], e.TitleID = byte(i>>8), strconv.Itoa(i)
		h.Apply(&e)
	}
	entries, length := h.Sequence()
	if length != MaxSequence+7 || len(entries) != MaxSequence || entries[0].TitleID != "7" || entries[MaxSequence-1].At != MaxSequence+6 {
		t.Errorf("%d of %d entries, from %v", len(entries), length, entries[0])
	}
}

// TestOrderAndRepetitionDoNotMatter is what lets a reader replay the log from anywhere.
func TestOrderAndRepetitionDoNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var events []Event
		for i := range rng.IntN(30) {
			e := play(byte(i), ingestv1.EventType(1+rng.IntN(11)), rng.Int64N(50), strconv.Itoa(rng.IntN(3)), rng.Int64N(100*minute))
			e.TitleID = []string{"x", "y", ""}[rng.IntN(3)]
			events = append(events, e)
		}
		want := NewHistory(events...)
		again := append(slices.Clone(events), events...)
		rng.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		got := NewHistory(again...)
		if !reflect.DeepEqual(got.Interactions(), want.Interactions()) {
			t.Fatalf("%+v\nshuffled and repeated:\n%+v", want.Interactions(), got.Interactions())
		}
	}
}

func TestStats(t *testing.T) {
	gap := SessionGap.Microseconds()
	events := []Event{event(1, click, 0), event(2, click, gap), event(3, like, 2*gap+1), event(4, ingestv1.EventType_EVENT_TYPE_SEARCH, 2*gap+5001), play(5, end, 9*gap, "a", 10*minute)}
	events[3].TitleID = ""
	events[0].Device, events[1].Device, events[2].Device = ingestv1.DeviceClass_DEVICE_CLASS_TV, ingestv1.DeviceClass_DEVICE_CLASS_PHONE, ingestv1.DeviceClass_DEVICE_CLASS_UNSPECIFIED
	events[4].Country = "DE"
	retried := events[1]
	retried.ReceivedAt += 77
	got := NewStats(Dedup(append([]Event{retried}, events...)))
	want := Stats{
		Events: 5, Titles: 1, Plays: 1, WatchedMS: 10 * minute, Sessions: 3, SessionMS: gap/1000 + 5, FirstAt: 0, LastAt: 9 * gap,
		DeviceClass: "phone", Country: "DE",
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFromWatchEvent(t *testing.T) {
	e := &ingestv1.WatchEvent{
		EventId: "01234567-89ab-7def-8123-456789abcdef", Type: like, OccurredAt: 5, ReceivedAt: 9, TitleId: "t",
	}
	got, err := FromWatchEvent(e)
	if err != nil || got.At != 5 || got.ID != [16]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x7d, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef} {
		t.Errorf("got %+v, %v", got, err)
	}
	e.ClockSkew = 4
	if got, err := FromWatchEvent(e); err != nil || got.At != 9 {
		t.Errorf("skewed: %+v, %v", got, err)
	}
	for _, id := range []string{"", "x", "0123456789ab7def8123456789abcdef", "0123456x-89ab-7def-8123-456789abcdef"} {
		e.EventId = id
		if _, err := FromWatchEvent(e); err == nil {
			t.Errorf("%q passes for a UUID", id)
		}
	}
}
