package broker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/internal/logid"
	"marquee/internal/testkit"
)

// engine is one kind of broker under the conformance suite.
type engine struct {
	// open opens a broker of which the test uses only topics and groups it names itself.
	open func(t *testing.T) *Broker
	// restart stops the broker, starts it on what is on its disk, and opens it again. Nil where the broker is shared
	// with other tests.
	restart func(t *testing.T, b *Broker) *Broker
}

// runConformance holds an engine to what the rest of the service relies on.
func runConformance(t *testing.T, e engine) {
	for name, test := range map[string]func(*testing.T, engine){
		"keys keep their order":          testOrder,
		"headers and times":              testHeaders,
		"a group resumes":                testGroupResumes,
		"two consumers share":            testRebalance,
		"topics are ensured":             testEnsure,
		"fewer partitions are reported":  testFewerPartitions,
		"a compacted topic is reread":    testCompacted,
		"records up to the limit":        testLargeRecords,
		"transactions":                   testTransactions,
		"a second client opens by URL()": testURL,
	} {
		t.Run(name, func(t *testing.T) { test(t, e) })
	}
	if e.restart != nil {
		t.Run("a restart keeps everything", func(t *testing.T) { testRestart(t, e) })
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// fresh is a name no other test has used.
func fresh(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:10]) }

func newTopic(t *testing.T, b *Broker, partitions int32, configs map[string]string) string {
	t.Helper()
	name := fresh("topic")
	if err := b.EnsureTopics(testContext(t), TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: -1, Configs: configs}); err != nil {
		t.Fatal(err)
	}
	return name
}

func newClient(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := b.NewClient(append([]kgo.Opt{kgo.FetchMaxWait(250 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produce(t *testing.T, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := client.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func numbered(topic string, from, n int) []*kgo.Record {
	var records []*kgo.Record
	for i := from; i < from+n; i++ {
		records = append(records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key%d", i%7), Value: fmt.Appendf(nil, "%06d", i)})
	}
	return records
}

// consume polls until n records have come.
func consume(t *testing.T, client *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx := testContext(t)
	var out []*kgo.Record
	for len(out) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(out), n, err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

func readAll(t *testing.T, b *Broker, topic string, n int) []*kgo.Record {
	t.Helper()
	client := newClient(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	return consume(t, client, n)
}

func testOrder(t *testing.T, e engine) {
	b := e.open(t)
	topic := newTopic(t, b, 3, nil)
	produce(t, newClient(t, b), numbered(topic, 0, 1000)...)
	records := readAll(t, b, topic, 1000)
	if len(records) != 1000 {
		t.Fatalf("%d records, want 1000", len(records))
	}
	checkOrder(t, records)
}

// checkOrder says that offsets are dense, a key lives in one partition, and values of a key ascend.
func checkOrder(t *testing.T, records []*kgo.Record) {
	t.Helper()
	next, last, home := map[int32]int64{}, map[string]string{}, map[string]int32{}
	for _, r := range records {
		if r.Offset != next[r.Partition] {
			t.Fatalf("partition %d: offset %d, want %d", r.Partition, r.Offset, next[r.Partition])
		}
		next[r.Partition]++
		key, value := string(r.Key), string(r.Value)
		if p, ok := home[key]; ok && p != r.Partition {
			t.Fatalf("%s is in partitions %d and %d", key, p, r.Partition)
		}
		if value <= last[key] {
			t.Fatalf("%s: %s after %s", key, value, last[key])
		}
		home[key], last[key] = r.Partition, value
	}
}

func testHeaders(t *testing.T, e engine) {
	b := e.open(t)
	topic := newTopic(t, b, 1, nil)
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond) // Retention goes by it: not long ago.
	produce(t, newClient(t, b), &kgo.Record{
		Topic: topic, Value: []byte("v"), Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/json")}, {Key: "empty"}},
	})
	r := readAll(t, b, topic, 1)[0]
	if len(r.Headers) != 2 || r.Headers[0].Key != "content-type" || string(r.Headers[0].Value) != "application/json" || r.Headers[1].Key != "empty" {
		t.Errorf("headers %v", r.Headers)
	}
	if r.Key != nil || !r.Timestamp.Equal(at) {
		t.Errorf("key %q at %v, want none at %v", r.Key, r.Timestamp, at)
	}
}

func joinGroup(t *testing.T, b *Broker, group, topic string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return newClient(t, b, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(200 * time.Millisecond),
	}, opts...)...)
}

func commit(t *testing.T, client *kgo.Client, records []*kgo.Record) {
	t.Helper()
	if err := client.CommitRecords(testContext(t), records...); err != nil {
		t.Fatal(err)
	}
}

func testGroupResumes(t *testing.T, e engine) {
	b := e.open(t)
	topic, group := newTopic(t, b, 1, nil), fresh("group")
	produce(t, newClient(t, b), numbered(topic, 0, 20)...)
	first := joinGroup(t, b, group, topic)
	commit(t, first, consume(t, first, 20)[:12])
	first.Close()
	second := joinGroup(t, b, group, topic)
	if r := consume(t, second, 8); len(r) != 8 || r[0].Offset != 12 {
		t.Fatalf("%d records from offset %d, want 8 from 12", len(r), r[0].Offset)
	}
}

func testRebalance(t *testing.T, e engine) {
	b := e.open(t)
	topic, group := newTopic(t, b, 4, nil), fresh("group")
	var owned [2]chan map[string][]int32
	var clients [2]*kgo.Client
	for i := range clients {
		owned[i] = make(chan map[string][]int32, 100)
		assigned := func(_ context.Context, _ *kgo.Client, got map[string][]int32) { owned[i] <- got }
		clients[i] = joinGroup(t, b, group, topic, kgo.OnPartitionsAssigned(assigned))
		// The second joins when the first owns everything.
		for n := 0; i == 0 && n < 4; {
			n += len((<-owned[0])[topic])
		}
	}
	for n := 0; n < 2; {
		n += len((<-owned[1])[topic])
	}
	// Each gets what the other does not.
	seen := make(chan *kgo.Record, 1000)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	for i, client := range clients {
		go func() {
			for ctx.Err() == nil {
				client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
					r.Attrs, r.Context = kgo.RecordAttrs{}, context.WithValue(ctx, consumerKey{}, i)
					seen <- r
				})
			}
		}()
	}
	var records []*kgo.Record
	for p := range int32(4) {
		for range 25 {
			records = append(records, &kgo.Record{Topic: topic, Partition: p, Value: []byte("v")})
		}
	}
	produce(t, newClient(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner())), records...)
	owner, count := map[int32]int{}, map[int]int{}
	for range 100 {
		r := <-seen
		i := r.Context.Value(consumerKey{}).(int)
		if before, ok := owner[r.Partition]; ok && before != i {
			t.Errorf("partition %d came to both consumers", r.Partition)
		}
		owner[r.Partition] = i
		count[i]++
	}
	if count[0] != 50 || count[1] != 50 {
		t.Errorf("the consumers got %d and %d records of 100", count[0], count[1])
	}
	// What one leaves goes to the other.
	clients[0].Close()
	for n := 0; n < 2; {
		n += len((<-owned[1])[topic])
	}
}

type consumerKey struct{}

func testEnsure(t *testing.T, e engine) {
	b := e.open(t)
	ctx := testContext(t)
	spec := TopicSpec{Name: fresh("topic"), Partitions: 2, ReplicationFactor: -1, Configs: map[string]string{"retention.ms": "600000000"}}
	if err := b.EnsureTopics(ctx, spec); err != nil {
		t.Fatal(err)
	}
	produce(t, newClient(t, b), numbered(spec.Name, 0, 10)...)
	if err := b.EnsureTopics(ctx, spec, TopicSpec{Name: fresh("topic"), Partitions: 1, ReplicationFactor: -1}); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, b, spec.Name, 10)); n != 10 {
		t.Errorf("%d records after ensuring the topic again, want 10", n)
	}
	configs, err := kadm.NewClient(newClient(t, b)).DescribeTopicConfigs(ctx, spec.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" && c.MaybeValue() != "600000000" {
			t.Errorf("retention.ms is %s", c.MaybeValue())
		}
	}
}

func testFewerPartitions(t *testing.T, e engine) {
	b := e.open(t)
	topic := newTopic(t, b, 2, nil)
	err := b.EnsureTopics(testContext(t), TopicSpec{Name: topic, Partitions: 3, ReplicationFactor: -1})
	var fewer *PartitionsError
	if !errors.As(err, &fewer) || fewer.Have != 2 || fewer.Want != 3 || fewer.Topic != topic {
		t.Fatalf("%v", err)
	}
	if err := b.EnsureTopics(testContext(t), TopicSpec{Name: topic, Partitions: 1, ReplicationFactor: -1}); err != nil {
		t.Errorf("more partitions than asked for: %v", err)
	}
}

func testCompacted(t *testing.T, e engine) {
	b := e.open(t)
	topic := newTopic(t, b, 1, map[string]string{"cleanup.policy": "compact"})
	client := newClient(t, b)
	for version := range 5 {
		for title := range 10 {
			value := fmt.Appendf(nil, "v%d", version)
			if title == 3 && version == 4 {
				value = nil // deleted
			}
			produce(t, client, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "title%d", title), Value: value})
		}
	}
	latest := map[string]string{}
	reader := newClient(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for last := int64(-1); last < 49; { // However many the broker has compacted away.
		for _, r := range consume(t, reader, 1) {
			latest[string(r.Key)], last = string(r.Value), r.Offset
		}
	}
	for title := range 10 {
		want := "v4"
		if title == 3 {
			want = ""
		}
		if got := latest[fmt.Sprintf("title%d", title)]; got != want {
			t.Errorf("title%d is %q, want %q", title, got, want)
		}
	}
}

func testLargeRecords(t *testing.T, e engine) {
	b := e.open(t)
	topic := newTopic(t, b, 1, nil)
	client := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	random := make([]byte, b.cfg.MaxBatchBytes)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	fits := random[:len(random)-1024]
	produce(t, client, &kgo.Record{Topic: topic, Value: fits})
	err := client.ProduceSync(testContext(t), &kgo.Record{Topic: topic, Value: random}).FirstErr()
	if !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a record over the limit: %v", err)
	}
	// One that gets past a client with larger ambitions is refused by the broker.
	eager := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(4*b.cfg.MaxBatchBytes))
	err = eager.ProduceSync(testContext(t), &kgo.Record{Topic: topic, Value: bytes.Repeat(random, 2)}).FirstErr()
	if !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a record over the broker's limit: %v", err)
	}
	if r := readAll(t, b, topic, 1); !bytes.Equal(r[0].Value, fits) {
		t.Errorf("a large record came back as %d other bytes", len(r[0].Value))
	}
}

func testTransactions(t *testing.T, e engine) {
	b := e.open(t)
	ctx := testContext(t)
	topic := newTopic(t, b, 1, nil)
	client := newClient(t, b, kgo.TransactionalID(fresh("tx")))
	for i, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, client, &kgo.Record{Topic: topic, Value: fmt.Append(nil, i)})
		if err := client.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	reader := newClient(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if r := consume(t, reader, 1); len(r) != 1 || string(r[0].Value) != "1" {
		t.Errorf("read %d records, the first %q; want the committed one", len(r), r[0].Value)
	}
}

func testRestart(t *testing.T, e engine) {
	b := e.open(t)
	topic, group := newTopic(t, b, 2, map[string]string{"retention.ms": "900000000"}), fresh("group")
	writer := newClient(t, b)
	produce(t, writer, numbered(topic, 0, 500)...)
	reader := joinGroup(t, b, group, topic)
	commit(t, reader, consume(t, reader, 500))
	before, err := logid.Of(t.Context(), writer, topic)
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	writer.Close()

	b = e.restart(t, b)
	writer = newClient(t, b)
	if after, err := logid.Of(t.Context(), writer, topic); err != nil || after != before {
		t.Errorf("after the restart %v is %v (%v)", before, after, err)
	}
	produce(t, writer, numbered(topic, 500, 300)...)
	checkOrder(t, readAll(t, b, topic, 800))
	rest := consume(t, joinGroup(t, b, group, topic), 300)
	if len(rest) != 300 {
		t.Errorf("the group got %d records after the restart, want the 300 new ones", len(rest))
	}
	for _, r := range rest {
		if string(r.Value) < "000500" {
			t.Fatalf("the group got %s again", r.Value)
		}
	}
}

func testURL(t *testing.T, e engine) {
	b := e.open(t)
	topic := newTopic(t, b, 1, nil)
	produce(t, newClient(t, b), numbered(topic, 0, 5)...)
	cfg := DefaultConfig()
	cfg.URL = b.URL()
	second, err := Open(testContext(t), cfg, t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	if second.Embedded() {
		t.Error("opened an embedded broker of its own")
	}
	readAll(t, second, topic, 5)
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
