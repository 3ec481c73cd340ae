package watchevent

import (
	"fmt"
	"regexp"
	"testing"
	"time"
)

func TestClockSkew(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		client  time.Duration
		flagged bool
	}{
		{"in step", 0, false},
		{"five minutes ahead", 5 * time.Minute, false},
		{"a microsecond more", 5*time.Minute + time.Microsecond, true},
		{"35 days behind", -35 * 24 * time.Hour, false},
		{"a microsecond more behind", -35*24*time.Hour - time.Microsecond, true},
		{"an hour behind", -time.Hour, false},
	} {
		got := ClockSkew(now.Add(tt.client).UnixMicro(), now.UnixMicro())
		want := int64(0)
		if tt.flagged {
			want = -tt.client.Microseconds()
		}
		if got != want {
			t.Errorf("%s: skew %d, want %d", tt.name, got, want)
		}
	}
}

func TestStamps(t *testing.T) {
	now := goodEvent().OccurredAt + 100*24*time.Hour.Microseconds()
	live := goodEvent()
	live.ImportId, live.ReceivedAt, live.ClockSkew = "forged", 1, 1
	StampLive(live, now)
	if live.ImportId != "" || live.ReceivedAt != now || live.ClockSkew != now-live.OccurredAt {
		t.Errorf("live: %v", live)
	}
	imported := goodEvent()
	imported.ClockSkew = 5
	StampImport(imported, now, "movielens:ml1m")
	if imported.ImportId != "movielens:ml1m" || imported.ReceivedAt != now || imported.ClockSkew != 0 {
		t.Errorf("imported: %v", imported)
	}
}

func TestDeriveID(t *testing.T) {
	at := time.Date(2000, 12, 31, 22, 12, 40, 0, time.UTC).UnixMicro()
	id := DeriveID(at, "ml1m", "1", "1193")
	if id != DeriveID(at, "ml1m", "1", "1193") {
		t.Error("the same parts gave two ids")
	}
	text := FormatID(id)
	if !IsID(text) || text[:8]+text[9:13] != fmt.Sprintf("%012x", at/1000) {
		t.Errorf("%s is not a version-7 UUID of %d ms", text, at/1000)
	}
	if back, ok := ParseID(text); !ok || back != id {
		t.Errorf("%s parses to %x (%v)", text, back, ok)
	}
	for _, other := range [][]string{{"ml1m", "11", "193"}, {"ml1m", "1", "1194"}, {"ml1m1", "", "1193"}} {
		if DeriveID(at, other...) == id {
			t.Errorf("%q has the id of ml1m 1 1193", other)
		}
	}
}

func FuzzIsID(f *testing.F) {
	pattern := regexp.MustCompile("^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
	f.Add("01930d5e-5c00-7000-8000-00000000abcd")
	f.Add("01930d5e-5c00-7000-8000-00000000abcD")
	f.Add("01930d5e-5c00-7000-c000-00000000abcd")
	f.Add("------------------------------------")
	f.Fuzz(func(t *testing.T, s string) {
		if IsID(s) != pattern.MatchString(s) {
			t.Errorf("IsID(%q) = %v, the contract's pattern says %v", s, IsID(s), !IsID(s))
		}
	})
}
