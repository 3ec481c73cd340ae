package broker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/internal/datadir"
	"marquee/internal/testkit"
)

// nextOffset produces one record and says where it went.
func nextOffset(t *testing.T, b *Broker, topic string) int64 {
	t.Helper()
	r := &kgo.Record{Topic: topic, Value: []byte("next")}
	produce(t, newClient(t, b), r)
	return r.Offset
}

// TestOffsetsOutliveTheirRecords lets every record of a partition go, in each way there is, and restarts the broker. kfake
// alone begins at offset 0 again then, while groups stay where they were: they would never see the new records.
func TestOffsetsOutliveTheirRecords(t *testing.T) {
	for name, empty := range map[string]func(t *testing.T, b *Broker, topic string){
		"retention by age": func(t *testing.T, b *Broker, _ string) {
			if err := b.embedded.sweep(testContext(t), time.Now().Add(1000*time.Hour)); err != nil {
				t.Fatal(err)
			}
		},
		"delete records to the end": func(t *testing.T, b *Broker, topic string) { deleteRecords(t, b, topic, -1) },
		"delete records by offset":  func(t *testing.T, b *Broker, topic string) { deleteRecords(t, b, topic, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			b := openURL(t, "embedded:", t.TempDir())
			topic, group := newTopic(t, b, 1, map[string]string{"retention.ms": "3600000"}), fresh("group")
			produce(t, newClient(t, b), numbered(topic, 0, 100)...)
			reader := joinGroup(t, b, group, topic)
			commit(t, reader, consume(t, reader, 100))
			reader.Close()
			empty(t, b, topic)
			p := b.embedded.cluster.PartitionInfo(topic, 0)
			if p.LogStartOffset != 99 || p.HighWatermark != 100 {
				t.Errorf("the log spans [%d, %d), want only the last record", p.LogStartOffset, p.HighWatermark)
			}
			b = reopen(t, b)
			if offset := nextOffset(t, b, topic); offset != 100 {
				t.Errorf("after the restart a record got offset %d, want 100", offset)
			}
			if r := consume(t, joinGroup(t, b, group, topic), 1)[0]; r.Offset != 100 {
				t.Errorf("the group goes on at %d, want 100", r.Offset)
			}
		})
	}
}

func deleteRecords(t *testing.T, b *Broker, topic string, upTo int64) {
	t.Helper()
	adm := kadm.NewClient(newClient(t, b))
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: topic, Partition: 0, At: upTo})
	got, err := adm.DeleteRecords(testContext(t), o)
	if err = errors.Join(err, got.Error()); err != nil {
		t.Fatal(err)
	}
}

// trap empties a partition behind the guard's back, as kfake does by itself, and returns the folder.
func trap(t *testing.T) (dir, topic, group string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "broker")
	b := openURL(t, "embedded:"+dir, "")
	topic, group = newTopic(t, b, 1, nil), fresh("group")
	produce(t, newClient(t, b), numbered(topic, 0, 100)...)
	reader := joinGroup(t, b, group, topic)
	commit(t, reader, consume(t, reader, 100))
	reader.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SyncWrites())
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.DeleteRecords(topic, 0, -1); err != nil {
		t.Fatal(err)
	}
	cluster.Close()
	return dir, topic, group
}

func TestAnEmptiedLogIsRefusedUntilTheLossIsAccepted(t *testing.T) {
	for name, forget := range map[string]string{"by the marks": "groups.log", "by a group's place": marksName} {
		t.Run(name, func(t *testing.T) {
			dir, topic, group := trap(t)
			if err := os.Remove(filepath.Join(dir, forget)); err != nil {
				t.Fatal(err)
			}
			cfg := DefaultConfig()
			cfg.URL = "embedded:" + dir
			for range 2 { // A refused start must not wash the evidence away.
				err := openFails(t, cfg)
				var loss *LossError
				if !errors.As(err, &loss) || !slices.Equal(loss.Losses, []Loss{{Topic: topic, End: 0, Want: 100}}) {
					t.Fatal(err)
				}
				if !strings.Contains(err.Error(), "embedded:"+dir+"?accept_loss=true") {
					t.Errorf("the error does not say how to go on: %v", err)
				}
			}
			b := openURL(t, "embedded:"+dir+"?accept_loss=true", "")
			if offset := nextOffset(t, b, topic); offset != 100 {
				t.Errorf("a record got offset %d, want 100", offset)
			}
			b = reopen(t, b)
			if offset := nextOffset(t, b, topic); offset != 101 {
				t.Errorf("the next record got offset %d, want 101", offset)
			}
			if name == "by a group's place" {
				if r := consume(t, joinGroup(t, b, group, topic), 2); r[0].Offset != 100 {
					t.Errorf("the group goes on at %d, want 100", r[0].Offset)
				}
			}
			if r := readAll(t, b, topic, 2); r[0].Offset != 100 || r[1].Offset != 101 {
				t.Errorf("read offsets %d and %d", r[0].Offset, r[1].Offset)
			}
		})
	}
}

// segmentOfTen is a closed broker's folder with ten records, each a batch of its own, and the file they are in.
func segmentOfTen(t *testing.T) (dir, topic, segment string, raw []byte) {
	t.Helper()
	b := openURL(t, "embedded:", t.TempDir())
	topic = newTopic(t, b, 1, nil)
	client := newClient(t, b)
	for i := range 10 {
		produce(t, client, numbered(topic, i, 1)...)
	}
	client.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	segment = filepath.Join(partitionDir(b.embedded.dir, topic, 0), "0.dat")
	raw, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	return b.embedded.dir, topic, segment, raw
}

func TestADamagedSegmentIsNotTouched(t *testing.T) {
	for name, at := range map[string]int{"a record": 40, "an offset": 0, "a length": 11, "a check sum": 18} {
		t.Run(name, func(t *testing.T) {
			dir, topic, segment, raw := segmentOfTen(t)
			raw[len(raw)/2+at] ^= 1
			if err := os.WriteFile(segment, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			cfg := DefaultConfig()
			cfg.URL = "embedded:" + dir
			err := openFails(t, cfg)
			var damage *DamageError
			found := errors.As(err, &damage) && damage.Byte == int64(len(raw)/2)
			// A wrong length hides what follows it: like a torn end, but the marks know better.
			var loss *LossError
			lost := at == 11 && errors.As(err, &loss)
			if !found && !lost {
				t.Fatal(err)
			}
			if damage != nil {
				if now, err := os.ReadFile(segment); err != nil || !slices.Equal(now, raw) {
					t.Errorf("the segment was changed: %v", err)
				}
			}
			b := openURL(t, cfg.URL+"?accept_loss=true", "")
			if offset := nextOffset(t, b, topic); at != 0 && offset != 10 {
				t.Errorf("a record got offset %d, want 10", offset)
			}
			// What stands before the damage and what came after it are both read, over the gap.
			if r := readAll(t, b, topic, 6); at != 0 && (len(r) != 6 || r[5].Offset != 10) {
				t.Errorf("read %d records, the last at %d", len(r), r[len(r)-1].Offset)
			}
		})
	}
}

func TestATornEndIsCutOff(t *testing.T) {
	for _, torn := range []int{1, 12, 30, 60} {
		dir, topic, segment, raw := segmentOfTen(t)
		if err := os.WriteFile(segment, append(raw, raw[:torn]...), 0o644); err != nil {
			t.Fatal(err)
		}
		b := openURL(t, "embedded:"+dir, "")
		if offset := nextOffset(t, b, topic); offset != 10 {
			t.Errorf("after a torn end of %d bytes a record got offset %d, want 10", torn, offset)
		}
		readAll(t, b, topic, 11)
	}
}

func FuzzScanBatches(f *testing.F) {
	f.Add([]byte{}, int64(0))
	f.Add(emptyBatch(7), int64(3))
	f.Add(slices.Concat(emptyBatch(7), emptyBatch(8), emptyBatch(9)[:50]), int64(0))
	f.Fuzz(func(t *testing.T, raw []byte, base int64) {
		at, _, err := scanBatches(bytes.NewReader(raw), int64(len(raw)), base)
		if err != nil || at < 0 || at > int64(len(raw)) {
			t.Errorf("%d of %d bytes: %v", at, len(raw), err)
		}
		if _, err := isTorn(bytes.NewReader(raw), int64(len(raw)), at); err != nil {
			t.Error(err)
		}
	})
}

func TestADeletedTopicIsNoLoss(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	topic := newTopic(t, b, 1, nil)
	nextOffset(t, b, topic)
	if err := b.embedded.writeMarks(testContext(t)); err != nil {
		t.Fatal(err)
	}
	stale, err := os.ReadFile(filepath.Join(b.embedded.dir, marksName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(newClient(t, b)).DeleteTopic(testContext(t), topic); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureTopics(testContext(t), TopicSpec{Name: topic, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.embedded.dir, marksName), stale, 0o600); err != nil {
		t.Fatal(err)
	}
	b = openURL(t, "embedded:"+b.embedded.dir, "")
	if offset := nextOffset(t, b, topic); offset != 0 {
		t.Errorf("a new topic of an old name begins at %d", offset)
	}
}

func TestBrokenMarksAreNotPassedOver(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"{": "remove it", `{"version": 9}`: "version 9"} {
		if err := os.WriteFile(filepath.Join(b.embedded.dir, marksName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := DefaultConfig()
		cfg.URL = "embedded:" + b.embedded.dir
		if err := openFails(t, cfg); !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
}

func TestAFolderHasOneBroker(t *testing.T) {
	dir := t.TempDir()
	b := openURL(t, "embedded:", dir)
	err := openFails(t, DefaultConfigAt(dir))
	var held *datadir.HeldError
	if !errors.As(err, &held) || held.Owner.PID != os.Getpid() {
		t.Errorf("%v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	openURL(t, "embedded:", dir)
}

// DefaultConfigAt is an embedded broker in dir/broker.
func DefaultConfigAt(dir string) Config {
	cfg := DefaultConfig()
	cfg.URL = "embedded:" + filepath.Join(dir, "broker")
	return cfg
}

func TestAStrangerIsNotLetIn(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	cfg := DefaultConfig()
	cfg.ConnectTimeout = 300 * time.Millisecond
	for _, account := range []string{"", "marquee:guess@"} {
		cfg.URL = "kafka://" + account + b.Seeds()[0]
		if account != "" {
			cfg.URL += "?sasl=scram-sha-256"
		}
		if err := openFails(t, cfg); !strings.Contains(err.Error(), b.Seeds()[0]) {
			t.Error(err)
		}
	}
	for _, name := range []string{".", "LOCK"} {
		info, err := os.Stat(filepath.Join(b.embedded.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", name, info.Mode())
		}
	}
}

// TestKilled kills a process that writes to an embedded broker, and looks for every record it was told of as acknowledged.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("BROKER_TEST_CHILD"); dir != "" {
		writeUntilKilled(t, dir)
	}
	dir := filepath.Join(t.TempDir(), "broker")
	acked := 0
	for round := range 3 {
		acked += killWriter(t, dir, 300)
		b := openURL(t, "embedded:"+dir, "")
		records := readAll(t, b, "watched", acked)
		if len(records) < acked {
			t.Fatalf("round %d: %d records, %d were acknowledged", round, len(records), acked)
		}
		for i, r := range records {
			if r.Offset != int64(i) {
				t.Fatalf("round %d: record %d has offset %d", round, i, r.Offset)
			}
		}
		// What was written and not yet acknowledged may be there, too.
		acked = int(b.embedded.cluster.PartitionInfo("watched", 0).HighWatermark)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func writeUntilKilled(t *testing.T, dir string) {
	b := openURL(t, "embedded:"+dir, "")
	if err := b.EnsureTopics(testContext(t), TopicSpec{Name: "watched", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, b)
	for {
		n := 10
		if err := client.ProduceSync(testContext(t), numbered("watched", 0, n)...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("ACKED", n)
	}
}

// killWriter runs a writer until it has reported least acknowledged records, kills it, and returns how many it reported.
func killWriter(t *testing.T, dir string, least int) int {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), "BROKER_TEST_CHILD="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acked, killed := 0, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "ACKED %d", &n); err != nil {
			t.Log(lines.Text())
			continue
		}
		if acked += n; acked >= least && !killed {
			killed = true
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); !killed {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return acked
}

func TestRetentionBySize(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	topic := newTopic(t, b, 1, map[string]string{"segment.bytes": "10000", "retention.bytes": "25000"})
	client := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 60 {
		produce(t, client, &kgo.Record{Topic: topic, Value: make([]byte, 1000)})
	}
	if err := b.embedded.sweep(testContext(t), time.Now()); err != nil {
		t.Fatal(err)
	}
	p := b.embedded.cluster.PartitionInfo(topic, 0)
	if kept := p.HighWatermark - p.LogStartOffset; kept < 20 || kept > 40 || p.HighWatermark != 60 {
		t.Errorf("kept %d of %d records of a kilobyte, want about 25", kept, p.HighWatermark)
	}
	b = reopen(t, b)
	if offset := nextOffset(t, b, topic); offset != 60 {
		t.Errorf("a record got offset %d, want 60", offset)
	}
}

func TestRetentionSparesWhatIsYoungOrCompacted(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	now := time.Now()
	aged := newTopic(t, b, 1, map[string]string{"retention.ms": "3600000"})
	compacted := newTopic(t, b, 1, map[string]string{"retention.ms": "3600000", "cleanup.policy": "compact"})
	for _, topic := range []string{aged, compacted} {
		for hours := 4; hours >= 0; hours-- {
			produce(t, newClient(t, b), &kgo.Record{
				Topic: topic, Key: []byte("k"), Value: []byte("v"), Timestamp: now.Add(-time.Duration(hours)*time.Hour + time.Minute),
			})
		}
	}
	if err := b.embedded.sweep(testContext(t), now); err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]int64{aged: 3, compacted: 0} {
		if p := b.embedded.cluster.PartitionInfo(topic, 0); p.LogStartOffset != want {
			t.Errorf("the log starts at %d, want %d", p.LogStartOffset, want)
		}
	}
}

func TestEnsureBringsEmbeddedSettingsIntoLine(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	topic := newTopic(t, b, 1, map[string]string{"retention.ms": "3600000"})
	if err := b.EnsureTopics(testContext(t), TopicSpec{Name: topic, Partitions: 1, Configs: map[string]string{"retention.ms": "7200000"}}); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, b)
	if v := b.embedded.cluster.TopicInfo(topic).Configs["retention.ms"]; v == nil || *v != "7200000" {
		t.Errorf("retention.ms is %v", v)
	}
}

func TestATornGroupLogLosesOnlyItsTornEnd(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	topic, group := newTopic(t, b, 1, nil), fresh("group")
	produce(t, newClient(t, b), numbered(topic, 0, 10)...)
	reader := joinGroup(t, b, group, topic)
	commit(t, reader, consume(t, reader, 10)[:6])
	reader.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.embedded.dir, "groups.log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := validEntries(whole); n != len(whole) || n == 0 {
		t.Fatalf("of %d bytes kfake wrote, %d are valid entries", len(whole), n)
	}
	if err := os.WriteFile(path, append(whole, whole[:17]...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := repairLogs(b.embedded.dir, testkit.Log(t)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || len(got) != len(whole) {
		t.Fatalf("%d bytes after the repair, want %d: %v", len(got), len(whole), err)
	}
	b = openURL(t, "embedded:"+b.embedded.dir, "")
	if r := consume(t, joinGroup(t, b, group, topic), 4); r[0].Offset != 6 {
		t.Errorf("the group goes on at %d, want 6", r[0].Offset)
	}
}

func FuzzValidEntries(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Add(append([]byte{255, 255, 255, 255}, make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := validEntries(raw)
		if n < 0 || n > len(raw) || validEntries(raw[:n]) != n {
			t.Errorf("%d of %d bytes", n, len(raw))
		}
	})
}

func TestMarksAreJSONPeopleCanRead(t *testing.T) {
	b := openURL(t, "embedded:", t.TempDir())
	topic := newTopic(t, b, 2, nil)
	nextOffset(t, b, topic)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b.embedded.dir, marksName))
	if err != nil {
		t.Fatal(err)
	}
	var m marks
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Topics) != 1 || m.Topics[0].Topic != topic || len(m.Topics[0].Ends) != 2 || m.Topics[0].Ends[0]+m.Topics[0].Ends[1] != 1 {
		t.Errorf("%s", text)
	}
}
