package events

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"marquee/ingest/watchevent"
)

func TestIDSetAgreesWithAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	set, want := newIDSet(10), make(map[[16]byte]bool)
	for range 50_000 {
		id := watchevent.DeriveID(int64(r.IntN(1000)), fmt.Sprint(r.IntN(20_000)))
		if added := set.add(id); added == want[id] {
			t.Fatalf("add(%x) = %v, seen before: %v", id, added, want[id])
		}
		want[id] = true
	}
	if set.used != len(want) {
		t.Errorf("%d ids, want %d", set.used, len(want))
	}
}
