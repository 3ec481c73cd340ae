package ids

import (
	"fmt"
	"sync"
	"testing"
)

func TestNumbersAreDenseAndStable(t *testing.T) {
	table := New(10)
	for want, id := range []string{"a", "b", "c"} {
		if got := table.Number(id); got != uint32(want) {
			t.Errorf("Number(%q) = %d, want %d", id, got, want)
		}
	}
	if got := table.Number("b"); got != 1 {
		t.Errorf("Number(b) again = %d, want 1", got)
	}
	if got := table.Lookup("z"); got != None {
		t.Errorf("Lookup of an unknown id = %d, want None", got)
	}
	if table.Name(2) != "c" || table.Name(3) != "" || table.Name(None) != "" {
		t.Errorf("Name: %q %q %q", table.Name(2), table.Name(3), table.Name(None))
	}
}

func TestFullTableGivesNone(t *testing.T) {
	table := New(2)
	table.Number("a")
	table.Number("b")
	if got := table.Number("c"); got != None {
		t.Errorf("Number in a full table = %d, want None", got)
	}
	if got := table.Number("a"); got != 0 {
		t.Errorf("a known id in a full table = %d, want 0", got)
	}
	if table.Len() != 2 {
		t.Errorf("Len = %d, want 2", table.Len())
	}
}

func TestConcurrentNumbering(t *testing.T) {
	table := New(1000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				id := fmt.Sprint(i)
				if n := table.Number(id); table.Name(n) != id {
					t.Errorf("Name(Number(%s)) = %q", id, table.Name(n))
				}
			}
		})
	}
	wg.Wait()
	if table.Len() != 500 {
		t.Errorf("Len = %d, want 500", table.Len())
	}
}
