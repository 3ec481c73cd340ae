package broker

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// A mark is how far a partition has come. Marks are written at the start, every minute and at the end, and compared with
// what the log holds at the next start: a log that ends before its mark has lost records, and would give their offsets, that
// consumers have already passed, to new ones.
type marks struct {
	Version int          `json:"version"`
	Topics  []topicMarks `json:"topics"`
}

type topicMarks struct {
	// ID tells a topic from one of the same name that was deleted.
	ID    string  `json:"id"`
	Topic string  `json:"topic"`
	Ends  []int64 `json:"ends"` // the offset after the last record, by partition
}

const (
	marksName    = "marks.json"
	marksVersion = 1
)

// Loss is a partition that ends before records that were acknowledged.
type Loss struct {
	Topic     string
	Partition int32
	End       int64 // the offset after the last record that is there
	Want      int64 // the offset after the last record that has been there
}

// LossError says that an embedded broker's log misses records it has acknowledged. Opening it would hand out offsets anew
// that consumers have passed, and they would never see the records behind them.
type LossError struct {
	Dir    string
	Losses []Loss
}

func (e *LossError) Error() string {
	parts := make([]string, 0, len(e.Losses))
	for _, l := range e.Losses {
		parts = append(parts, fmt.Sprintf("%s[%d] ends at offset %d but has been at %d", l.Topic, l.Partition, l.End, l.Want))
	}
	return fmt.Sprintf("the log in %s misses records: %s. Restore the folder from a copy; or give the missing records up and open "+
		"embedded:%s?accept_loss=true once, which lets offsets go on after them", e.Dir, strings.Join(parts, "; "), e.Dir)
}

// currentMarks asks the running broker how far its partitions have come.
func (e *embedded) currentMarks(ctx context.Context) (marks, error) {
	m := marks{Version: marksVersion}
	topics, err := listTopics(ctx, e.client)
	if err != nil {
		return m, err
	}
	for _, topic := range topics {
		t := topicMarks{ID: hex.EncodeToString(topic.TopicID[:]), Topic: *topic.Topic}
		for _, p := range e.cluster.PartitionInfos(t.Topic) {
			t.Ends = append(t.Ends, p.HighWatermark)
		}
		m.Topics = append(m.Topics, t)
	}
	return m, nil
}

func (e *embedded) writeMarks(ctx context.Context) error {
	m, err := e.currentMarks(ctx)
	if err == nil {
		err = writeDurably(filepath.Join(e.dir, marksName), m)
	}
	if err != nil {
		return fmt.Errorf("write the marks of the embedded broker: %w", err)
	}
	return nil
}

func readMarks(dir string) (marks, error) {
	var m marks
	text, err := os.ReadFile(filepath.Join(dir, marksName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read %s: %w; it is written whole or not at all, so the disk or a hand has changed it: remove it to go on "+
			"without its check", filepath.Join(dir, marksName), err)
	}
	if m.Version != marksVersion {
		return m, fmt.Errorf("%s has version %d, this program reads %d", filepath.Join(dir, marksName), m.Version, marksVersion)
	}
	return m, nil
}

// losses holds what the broker found on disk against the marks and against the places groups have committed.
func (e *embedded) losses(ctx context.Context) ([]Loss, error) {
	before, err := readMarks(e.dir)
	if err != nil {
		return nil, err
	}
	now, err := e.currentMarks(ctx)
	if err != nil {
		return nil, err
	}
	committed, err := e.committed(ctx)
	if err != nil {
		return nil, err
	}
	var out []Loss
	for _, topic := range now.Topics {
		i := slices.IndexFunc(before.Topics, func(t topicMarks) bool { return t.ID == topic.ID })
		for p, end := range topic.Ends {
			want := committed[topicPartition{topic.Topic, int32(p)}]
			if i >= 0 && p < len(before.Topics[i].Ends) {
				want = max(want, before.Topics[i].Ends[p])
			}
			if end < want {
				out = append(out, Loss{Topic: topic.Topic, Partition: int32(p), End: end, Want: want})
			}
		}
	}
	return out, nil
}

type topicPartition struct {
	topic     string
	partition int32
}

// committed is the furthest place any group has committed, by partition.
func (e *embedded) committed(ctx context.Context) (map[topicPartition]int64, error) {
	groups, err := e.adm.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	out := map[topicPartition]int64{}
	responses := e.adm.FetchManyOffsets(ctx, groups.Groups()...)
	if err := responses.Error(); err != nil {
		return nil, err
	}
	responses.EachError(func(r kadm.FetchOffsetsResponse) { err = errors.Join(err, r.Err) })
	for _, group := range responses {
		group.Fetched.Each(func(o kadm.OffsetResponse) {
			tp := topicPartition{o.Topic, o.Partition}
			out[tp] = max(out[tp], o.At)
		})
	}
	return out, err
}

// writeDurably replaces a file by the JSON of v: after a crash it holds the old or the new, whole.
func writeDurably(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
