package consumer

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"marquee/ingest/events"
	"marquee/ingest/ledger"
	"marquee/internal/db"
	"marquee/internal/logid"
)

// refusal starts a module and returns why that was refused.
func (w *world) refusal() *logid.OtherError {
	w.t.Helper()
	var other *logid.OtherError
	if err := w.module().Start(w.t.Context()); !errors.As(err, &other) {
		w.t.Fatalf("start on another log: %v", err)
	}
	return other
}

func TestAnotherLogUnderAnOldLakeIsRefused(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	w.publish(0, 1000)
	w.caughtUp(m)
	w.stop(m)

	// The database is gone with the broker: the lake alone remembers.
	fresh, err := db.Open(t.Context(), "sqlite:"+t.TempDir()+"/fresh.db", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := fresh.Close(); err != nil {
			t.Error(err)
		}
	}()
	w.db, w.cluster = fresh, newCluster(t)
	if other := w.refusal(); other.Keeper != "the lake" {
		t.Errorf("refused for %s", other.Keeper)
	}
}

func TestAnAdoptedLogIsStoredAfterTheOldOne(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	w.publish(0, 1000)
	w.caughtUp(m)
	w.stop(m)

	w.cluster = newCluster(t)
	w.openPublisher()
	w.publish(500, 1000)
	if other := w.refusal(); other.Keeper != "the ingest ledger" {
		t.Errorf("refused for %s", other.Keeper)
	}
	client, err := w.newClient()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	log, err := logid.Of(t.Context(), client, topic)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.New(t.Context(), w.db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Adopt(t.Context(), ledger.Adoption{Log: log}); err != nil {
		t.Fatal(err)
	}
	if other := w.refusal(); other.Keeper != "the lake" {
		t.Errorf("an adoption that did not reach the lake is refused for %s", other.Keeper)
	}
	done, err := l.Adopt(t.Context(), ledger.Adoption{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := events.WriteLog(t.Context(), w.lake, done.Entry); err != nil {
		t.Fatal(err)
	}
	m = w.start(w.module())
	w.caughtUp(m)
	w.publish(1500, 500)
	w.caughtUp(m)
	w.stop(m)
	m = w.start(w.module()) // what it commits and where it goes on are the log's own offsets
	w.publish(2000, 500)
	w.caughtUp(m)
	w.check(m)
	w.stop(m)
}

func TestATopicMadeAgainIsRefusedWhileRunning(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	defer w.stop(m)
	w.publish(0, 1000)
	w.caughtUp(m)
	admin := kadm.NewClient(m.client)
	if _, err := admin.DeleteTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	before := len(w.warehouse.ids())
	w.openPublisher()
	w.publish(1000, 2000)
	eventually(t, "it is not ready, for the log is not the ledger's", func() bool {
		var other *logid.OtherError
		return errors.As(m.Ready(t.Context()), &other)
	})
	if after := len(w.warehouse.ids()); after != before {
		t.Errorf("%d events of the new topic were stored", after-before)
	}
}
