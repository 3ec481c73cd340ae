package ledger

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"marquee/internal/logid"
)

func TestAnotherLogIsNotClaimed(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		if _, err := l.Follow(t.Context(), logid.Entry{Log: theLog}); err != nil {
			t.Fatal(err)
		}
		claim(t, l, 0)
		var other *logid.OtherError
		_, _, _, err := l.Claim(t.Context(), logid.Log{Topic: topic, Cluster: "a", ID: "2"}, 0, "x", 0)
		if !errors.As(err, &other) {
			t.Errorf("claim of a topic made again: %v", err)
		}
	})
}

func TestAnAdoptedLogGoesOnWhereTheOldOneEnded(t *testing.T) {
	engines(t, func(t *testing.T, l *Ledger) {
		_, err := l.Follow(t.Context(), logid.Entry{Log: theLog})
		must(t, err)
		old, _, _ := claim(t, l, 0)
		r := fix(t, old, 0, 99)
		must(t, old.InLake(t.Context(), r, nil))

		next := Adoption{Log: logid.Log{Topic: topic, Cluster: "b", ID: "9"}, Starts: map[int32]int64{0: 40}}
		if _, err := l.Adopt(t.Context(), next); err == nil || !strings.Contains(err.Error(), "watch-events/0/0-99") || !strings.Contains(err.Error(), "--give-up-open") {
			t.Errorf("adopted over an open range: %v", err)
		}
		through(t, l, -1)
		next.GiveUpOpen = true
		done, err := l.Adopt(t.Context(), next)
		must(t, err)
		if done.From != theLog || len(done.GivenUp) != 1 || done.Entry.Bases[0] != 60 {
			t.Errorf("adopted: %+v", done)
		}
		if err := old.InWarehouse(t.Context(), r, 1, 0); !errors.Is(err, ErrFenced) {
			t.Errorf("the old log's consumer wrote after the adoption: %v", err)
		}
		owner, at, open, err := l.Claim(t.Context(), next.Log, 0, "x", 40)
		must(t, err)
		if at != 100 || open != nil || owner.Base() != 60 {
			t.Errorf("the new log goes on at %d with base %d, open %v", at, owner.Base(), open)
		}
		if p, err := l.Positions(t.Context(), topic); err != nil || p[0] != (Position{Next: 100, Through: 99, Base: 60}) {
			t.Errorf("positions %+v (%v)", p, err)
		}
		again, err := l.Adopt(t.Context(), next)
		must(t, err)
		if diff := cmp.Diff(done.Entry, again.Entry); diff != "" || len(again.GivenUp) != 0 {
			t.Errorf("adopting again changed something: %s", diff)
		}
		fix(t, owner, 100, 110) // the adoption that changed nothing fenced nobody
		copied := Adoption{Log: logid.Log{Topic: topic, Cluster: "c"}, SameOffsets: true}
		if done, err = l.Adopt(t.Context(), copied); err != nil || done.Entry.Bases[0] != 60 {
			t.Errorf("a copy: %+v (%v)", done, err)
		}
		if _, _, open, err = l.Claim(t.Context(), copied.Log, 0, "x", 40); err != nil || open == nil {
			t.Errorf("the copy does not go on with the open range (%v)", err)
		}
	})
}
