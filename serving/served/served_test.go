package served

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/internal/testkit"
	servingv1 "marquee/serving/v1"
)

func answer(i int) *servingv1.Served {
	return &servingv1.Served{
		RequestId: fmt.Sprint("r", i), ProfileId: "p", At: 1, Rpc: "Recommend", Policy: "greedy",
		Rows: []*servingv1.ServedRow{{
			Kind: "list", TitleIds: []string{"a", "b"}, Scores: []float32{2, 1}, Sources: []string{"als", "new"}, Propensities: []float64{1, .5},
			FeatureNames: []string{"x"}, Features: []float32{3, 4},
		}},
	}
}

// TestLogNeverWaits: with nobody to take answers down, as many as fit are kept, the others are dropped and counted at once.
func TestLogNeverWaits(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Buffer = 10
	dead := func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers("127.0.0.1:1"))...)
	}
	l, err := NewLog(cfg, dead, testkit.Log(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		l.Append(answer(i))
	}
	// What becomes of an answer is told behind it.
	deadline := time.Now().Add(time.Minute)
	for got := -1.; got != 990; got = testutil.ToFloat64(l.dropped.WithLabelValues("buffer_full")) {
		if time.Now().After(deadline) {
			t.Fatalf("%g dropped, want 990", got)
		}
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); err == nil {
		t.Error("ten answers are lost without a word")
	}
}

func TestLogAppends(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, servingv1.TopicServed))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	connect := func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
	}
	l, err := NewLog(DefaultConfig(), connect, testkit.Log(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		l.Append(answer(i))
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader, err := connect(kgo.ConsumeTopics(servingv1.TopicServed))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; n < 50; {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of 50 answers arrived", n)
		}
		for _, r := range fetches.Records() {
			if got, err := Decode(r.Value); err != nil || !proto.Equal(got, answer(n)) || string(r.Key) != "p" {
				t.Fatalf("record %d: %v, %v", n, got, err)
			}
			n++
		}
	}
}

func TestDecode(t *testing.T) {
	for want, change := range map[string]func(*servingv1.Served){
		"request_id":        func(s *servingv1.Served) { s.RequestId = "" },
		"other numbers":     func(s *servingv1.Served) { s.Rows[0].Scores = nil },
		"propensity":        func(s *servingv1.Served) { s.Rows[0].Propensities[1] = 0 },
		"row 0 has 2 title": func(s *servingv1.Served) { s.Rows[0].Features = s.Rows[0].Features[:1] },
	} {
		s := answer(1)
		change(s)
		value, err := proto.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	value, err := proto.Marshal(answer(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte("\x0a\x01r\x12\x01p\x5a\x00"))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := Decode(value)
		if err != nil {
			return
		}
		for _, r := range s.GetRows() {
			names := len(r.GetFeatureNames())
			for rank := range r.GetTitleIds() {
				_ = r.GetFeatures()[rank*names : (rank+1)*names]
			}
		}
	})
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{}, {Buffer: 1, BufferBytes: 1 << 20, Partitions: 1, Timeout: time.Second}} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "serving.served.") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
