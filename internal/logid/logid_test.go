package logid_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/uptrace/bun"

	"marquee/internal/db"
	"marquee/internal/logid"
	"marquee/internal/testkit"
)

func open(t *testing.T, url string) (*db.DB, *logid.Book) {
	t.Helper()
	d, err := db.Open(t.Context(), url, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := logid.OpenBook(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return d, b
}

func TestTheBookFollowsOneLog(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/x.db" },
		"postgres": func(t *testing.T) string { return testkit.NeedPostgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			d, b := open(t, url(t))
			first := logid.Log{Topic: "t", Cluster: "a", ID: "1"}
			if _, ok, err := b.Entry(t.Context(), d, "t"); ok || err != nil {
				t.Fatalf("a new book knows the topic (%v)", err)
			}
			want := logid.Entry{Log: first, Bases: map[int32]int64{2: 7}}
			for _, e := range []logid.Entry{want, {Log: first}, {Log: logid.Log{Topic: "t", Cluster: "a"}}} {
				got, err := b.Follow(t.Context(), "it", e)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
			second := logid.Entry{Log: logid.Log{Topic: "t", Cluster: "b", ID: "1"}, Bases: map[int32]int64{0: -3}}
			_, err := b.Follow(t.Context(), "the ledger", second)
			var other *logid.OtherError
			if !errors.As(err, &other) {
				t.Fatalf("another cluster: %v", err)
			}
			for _, part := range []string{"the ledger belongs to", `cluster "a"`, `cluster "b"`, "broker.url", "adopt-log"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			err = d.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error { return b.Adopt(ctx, tx, second) })
			if err != nil {
				t.Fatal(err)
			}
			if got, err := b.Follow(t.Context(), "it", second); err != nil || cmp.Diff(second, got) != "" {
				t.Errorf("after the adoption: %+v (%v)", got, err)
			}
		})
	}
}

// identities checks what tells logs apart on a broker: nothing but another topic's id after the topic was made again.
func identities(t *testing.T, seeds ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	newClient := func() *kgo.Client {
		c, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	const topic = "identities"
	admin := kadm.NewClient(newClient())
	create := func() {
		for {
			_, err := admin.CreateTopic(ctx, 1, 1, nil, topic)
			if err == nil {
				return
			}
			if ctx.Err() != nil || !strings.Contains(err.Error(), "TOPIC_ALREADY_EXISTS") {
				t.Fatal(err)
			}
		}
	}
	of := func() logid.Log {
		for {
			l, err := logid.Of(ctx, newClient(), topic)
			if err == nil {
				return l
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := logid.Of(ctx, newClient(), "nobody-made-it"); err == nil {
		t.Error("a topic that is not there has an identity")
	}
	create()
	first, again := of(), of()
	if first.Cluster == "" || first.ID == "" || first.Topic != topic || first != again {
		t.Errorf("the same log twice: %+v, %+v", first, again)
	}
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		t.Fatal(err)
	}
	create()
	if second := of(); second.Same(first) || second.Cluster != first.Cluster {
		t.Errorf("made again: %v and %v", first, second)
	}
}

func TestIdentitiesOnKfake(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	identities(t, c.ListenAddrs()...)
}

func TestIdentitiesOnKafka(t *testing.T) {
	identities(t, strings.TrimPrefix(testkit.NeedKafka(t), "kafka://"))
}
