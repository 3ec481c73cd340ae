package deadletters_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/ingest/deadletters"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/db"
	"marquee/internal/logid"
	"marquee/internal/testkit"
)

// world is a broker with a topic of dead letters, and a database.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	db      *db.DB
	log     logid.Log
}

func engines(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+t.TempDir()+"/marquee.db") })
	t.Run("postgres", func(t *testing.T) { test(t, testkit.NeedPostgres(t)) })
}

func newWorld(t *testing.T, url string, opts ...kfake.Opt) *world {
	t.Helper()
	w := &world{t: t, log: logid.Log{Cluster: "c", Topic: ingestv1.TopicWatchEvents, ID: "one"}}
	var err error
	if w.cluster, err = kfake.NewCluster(append(opts, kfake.NumBrokers(1))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cluster.Close)
	if w.db, err = db.Open(t.Context(), url, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.cluster.ListenAddrs()...))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

func (w *world) write(letters ...*ingestv1.DeadLetter) {
	w.t.Helper()
	var records []*kgo.Record
	for _, l := range letters {
		value, err := proto.Marshal(l)
		if err != nil {
			w.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: ingestv1.TopicDeadLetters, Key: l.Key, Value: value})
	}
	if err := w.client().ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() *deadletters.Box {
	w.t.Helper()
	box, err := deadletters.Open(w.t.Context(), w.db, w.client(deadletters.Options()...), w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	return box
}

func (w *world) ids() []string {
	w.t.Helper()
	out := []string{}
	err := w.open().Each(w.t.Context(), func(l deadletters.Letter) (bool, error) {
		out = append(out, l.ID.String())
		return true, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func letter(partition int32, offset int64, value string) *ingestv1.DeadLetter {
	return &ingestv1.DeadLetter{
		Topic: ingestv1.TopicWatchEvents, Partition: partition, Offset: offset, Reason: "not_proto: it is no event", Key: fmt.Append(nil, "p", offset),
		Value: []byte(value), RefusedAt: 1_790_000_000_000_000,
	}
}

func TestLettersAreListedUntilTheyAreSettled(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		w := newWorld(t, url, kfake.SeedTopics(3, ingestv1.TopicDeadLetters))
		if got := w.ids(); len(got) != 0 {
			t.Errorf("an empty topic has %v", got)
		}
		var all []*ingestv1.DeadLetter
		var want []string
		for i := range int64(1200) {
			all = append(all, letter(int32(i%2), i, "x"))
			want = append(want, deadletters.ID{Partition: int32(i % 2), Offset: i}.String())
		}
		w.write(all...)
		w.write(all[:40]...) // a consumer that was killed sends its range's letters again
		slices.Sort(want)
		if got := w.ids(); !slices.Equal(got, want) {
			t.Fatalf("%d letters listed, want %d", len(got), len(want))
		}
		var drop []deadletters.ID
		for i := range int64(1190) {
			drop = append(drop, deadletters.ID{Partition: int32(i % 2), Offset: i})
		}
		if err := w.open().Drop(t.Context(), drop...); err != nil {
			t.Fatal(err)
		}
		if err := w.open().Replayed(t.Context(), deadletters.ID{Partition: 0, Offset: 1190}, deadletters.ID{Partition: 0, Offset: 0}); err != nil {
			t.Fatal(err)
		}
		if got := w.ids(); len(got) != 9 || slices.Contains(got, "0-1190") {
			t.Errorf("left are %v", got)
		}
		// The same places in another log are other records.
		w.log.ID = "two"
		if got := w.ids(); len(got) != 1200 {
			t.Errorf("of another log %d letters are listed", len(got))
		}
	})
}

func TestNothingWasEverRefused(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/marquee.db")
	if got := w.ids(); len(got) != 0 {
		t.Error(got)
	}
}

func TestFind(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir()+"/marquee.db", kfake.SeedTopics(2, ingestv1.TopicDeadLetters))
	w.write(letter(0, 1, "a"), letter(1, 2, "b"), letter(1, 3, "c"))
	found, err := w.open().Find(t.Context(), []deadletters.ID{{Partition: 1, Offset: 3}, {Partition: 0, Offset: 1}})
	if err != nil || string(found[0].Value) != "c" || string(found[1].Value) != "a" {
		t.Errorf("%v, %v", found, err)
	}
	_, err = w.open().Find(t.Context(), []deadletters.ID{{Partition: 1, Offset: 3}, {Partition: 7, Offset: 1}})
	if !errors.Is(err, deadletters.ErrNone) || !strings.Contains(err.Error(), "7-1") || strings.Contains(err.Error(), "1-3") {
		t.Error(err)
	}
}

func TestALetterIsReadAsAConsumerOfTodayWould(t *testing.T) {
	const good = `{"eventId":"0190a5c2-7b6e-7c3a-8f00-0000000000aa","schemaVersion":1,"profileId":"p1","titleId":"t1",` +
		`"type":"EVENT_TYPE_LIKE","occurredAt":"1789999999000000"}`
	json := letter(0, 1, good)
	json.ContentType = ingestv1.ContentTypeJSON
	e, err := deadletters.Letter{DeadLetter: json}.Read()
	if err != nil || e.ProfileId != "p1" || e.ReceivedAt != json.RefusedAt || e.ClockSkew != 0 {
		t.Errorf("%v, %v", e, err)
	}
	garbage := deadletters.Letter{DeadLetter: letter(0, 1, "\xff\xff")}
	if _, err := garbage.Read(); err == nil {
		t.Error("garbage is an event")
	}
	if e, err := garbage.Corrected([]byte(good)); err != nil || e.TitleId != "t1" {
		t.Errorf("%v, %v", e, err)
	}
	if _, err := garbage.Corrected([]byte(`{"profileId":"p1"}`)); err == nil {
		t.Error("a correction that is no event is one")
	}
	cut := letter(0, 1, "x")
	cut.Reason += " (of its 2000000 bytes the first 921600 are kept)"
	if (deadletters.Letter{DeadLetter: cut}).Whole() || !garbage.Whole() {
		t.Error("which letters are whole")
	}
}

func TestIDs(t *testing.T) {
	if id, err := deadletters.ParseID("3-1234"); err != nil || id != (deadletters.ID{Partition: 3, Offset: 1234}) || id.String() != "3-1234" {
		t.Errorf("%v, %v", id, err)
	}
	for _, text := range []string{"", "3", "3-", "-3", "x-1", "1-x", "-1-2", "1--2", "99999999999-1"} {
		if _, err := deadletters.ParseID(text); err == nil {
			t.Errorf("%q is an id", text)
		}
	}
}
