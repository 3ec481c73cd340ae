package warehouse

import (
	"fmt"
	"testing"
)

// TestEraseProfile: the profile's rows are in no part, those that were replaced included, and others' rows are as they were.
func TestEraseProfile(t *testing.T) {
	w := migrated(t)
	for i := range 4 {
		execute(t, w, fmt.Sprintf("INSERT INTO events_raw (event_id, profile_id, occurred_at, received_at) SELECT generateUUIDv4(), "+
			"if(number %% 3 = 0, 'gone', 'stays'), now64(6), now64(6) FROM numbers(%d)", 90+3*i))
	}
	stays := count(t, w, "SELECT count() FROM events_raw WHERE profile_id = 'stays'")
	for range 2 { // what is done already can be done again
		if err := w.EraseProfile(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
		if n := count(t, w, "SELECT count() FROM events_raw WHERE profile_id = 'gone'"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if n := count(t, w, "SELECT count() FROM system.parts WHERE table = 'events_raw' AND NOT active"); n != 0 {
			t.Errorf("%d replaced parts are on disk", n)
		}
		if n := count(t, w, "SELECT count() FROM events_raw"); n != stays {
			t.Errorf("%d rows of others, there were %d", n, stays)
		}
	}
	if n := count(t, w, "SELECT count() FROM system.mutations WHERE command LIKE '%gone%'"); n != 0 {
		t.Error("a mutation's text has the id")
	}
	if n := count(t, w, "SELECT count() FROM system.tables WHERE name = 'events_raw' AND create_table_query LIKE '%old_parts_lifetime%'"); n != 0 {
		t.Error("replaced parts are kept for a second from now on")
	}
}
