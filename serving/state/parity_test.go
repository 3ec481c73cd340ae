package state

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"marquee/features/online"
	ingestv1 "marquee/ingest/v1"
)

// TestStateEqualsTheFeatures holds the compact state equal to the feature definitions, title by title, on random histories.
func TestStateEqualsTheFeatures(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		s, table := newStore(t, DefaultConfig())
		want := online.NewHistory()
		for i := range rng.IntN(25) {
			e := randomEvent(rng, i)
			s.Apply(e)
			o := online.Event{Type: e.Type, At: e.At, TitleID: e.TitleID, PlayID: e.PlayID, WatchedMS: e.WatchedMS, DurationMS: e.DurationMS, Autoplay: e.Autoplay}
			binary.BigEndian.PutUint64(o.ID[:8], e.Order[0])
			binary.BigEndian.PutUint64(o.ID[8:], e.Order[1])
			want.Apply(&o)
		}
		var h History
		s.Read("p", &h)
		if len(h.Entries) != len(want.Titles) {
			t.Fatalf("%d titles, want %d", len(h.Entries), len(want.Titles))
		}
		for _, e := range h.Entries {
			name := table.Name(e.Title)
			w := want.Titles[name].Interaction(name)
			got := online.Interaction{TitleID: name, Strength: int32(e.Strength*online.One + .5), Plays: w.Plays, WatchedMS: w.WatchedMS,
				FirstAt: w.FirstAt, LastAt: e.LastAt, LastType: w.LastType, Abandoned: e.Abandoned, Disliked: e.Disliked, Liked: e.Liked, Listed: e.Listed}
			if got != w {
				t.Fatalf("state %+v, features %+v", got, w)
			}
		}
	}
}

func randomEvent(rng *rand.Rand, i int) Event {
	e := Event{
		ProfileID: "p", TitleID: fmt.Sprint("t", rng.IntN(4)), Type: ingestv1.EventType(1 + rng.IntN(9)),
		At: start + int64(rng.IntN(20)), Order: [2]uint64{rng.Uint64(), uint64(i)},
	}
	if e.isPlay() {
		e.PlayID = fmt.Sprint("play", rng.IntN(4))
		e.DurationMS = []int64{0, 90_000, 15 * minute, 40 * minute, film}[rng.IntN(5)]
		e.WatchedMS = rng.Int64N(120 * minute)
		if rng.IntN(3) == 0 {
			e.WatchedMS = rng.Int64N(2 * minute)
		}
		e.Autoplay = rng.IntN(6) == 0
	}
	return e
}
