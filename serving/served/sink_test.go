package served

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/features/warehouse"
	"marquee/internal/native"
	"marquee/internal/testkit"
	servingv1 "marquee/serving/v1"
)

// TestMain lets this binary be the embedded warehouse's child.
func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

// shown is a row of the view served.
type shown struct {
	Request  string
	Row      uint32
	Rank     uint32
	Title    string
	Score    float32
	Source   string
	Chance   float64
	Features []float32
	Arms     map[string]string
}

// TestSink: an answer of two lists that comes twice is in the view once, title by title; an erased profile's and an unreadable record are
// not; a row from before lists were rows reads as one of a single title.
func TestSink(t *testing.T) {
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", "make setup")
	}
	w, err := warehouse.Open(t.Context(), warehouse.DefaultConfig(), t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Conn().Exec(t.Context(), `INSERT INTO served_raw (profile_id, request_id, row, rank, at, title_id, score, source, propensity, feature_names, features)
		VALUES ('p', 'r0', 3, 4, now64(), 'old', 0.5, 'als', 0.25, ['x', 'y'], [1, 2])`); err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, servingv1.TopicServed))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	connect := func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}
	registry := prometheus.NewRegistry()
	l, err := NewLog(DefaultConfig(), connect, testkit.Log(t), registry)
	if err != nil {
		t.Fatal(err)
	}
	a := answer(1)
	a.Rows = append(a.Rows, &servingv1.ServedRow{Kind: "empty"}, &servingv1.ServedRow{
		Kind: "genre", TitleIds: []string{"c"}, Scores: []float32{7}, Sources: []string{"tower"}, Propensities: []float64{1},
	})
	a.Arms = map[string]string{"variety": "control"}
	gone := answer(2)
	gone.ProfileId = "erased"
	for _, s := range []*servingv1.Served{a, a, gone} {
		s.At = time.Now().UnixMicro() // younger than the table keeps
		l.Append(s)
	}
	l.client.Produce(t.Context(), &kgo.Record{Value: []byte("\xff")}, nil)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sink := NewSink(connect, w.Conn(), func() (int64, func(string) bool) { return 1, func(id string) bool { return id == "erased" } },
		testkit.Log(t), registry)
	if err := sink.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	deadline := time.Now().Add(time.Minute)
	for testutil.ToFloat64(sink.rows) < 6 {
		if time.Now().After(deadline) {
			t.Fatalf("%g titles are in", testutil.ToFloat64(sink.rows))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := testutil.ToFloat64(sink.refused); got != 1 {
		t.Errorf("%g records were refused", got)
	}
	rows, err := w.Conn().Query(t.Context(), `SELECT request_id, row, rank, title_id, score, source, propensity, features, arms
		FROM served WHERE profile_id = 'p' ORDER BY request_id, row, rank`)
	if err != nil {
		t.Fatal(err)
	}
	var got []shown
	for rows.Next() {
		var s shown
		if err := rows.Scan(&s.Request, &s.Row, &s.Rank, &s.Title, &s.Score, &s.Source, &s.Chance, &s.Features, &s.Arms); err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	arms := map[string]string{"variety": "control"}
	want := []shown{
		{"r0", 3, 4, "old", .5, "als", .25, []float32{1, 2}, map[string]string{}},
		{"r1", 0, 0, "a", 2, "als", 1, []float32{3}, arms},
		{"r1", 0, 1, "b", 1, "new", .5, []float32{4}, arms},
		{"r1", 2, 0, "c", 7, "tower", 1, []float32{}, arms},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var n uint64
	if err := w.Conn().QueryRow(t.Context(), "SELECT count() FROM served").Scan(&n); err != nil || n != 4 {
		t.Errorf("%d titles in all, %v", n, err)
	}
}
