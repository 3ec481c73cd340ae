package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// sweepLoop applies retention and writes the marks until ctx ends.
func (e *embedded) sweepLoop(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if err := e.sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			e.log.Error("retention of the embedded broker failed; trying again in a while", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// sweep deletes what retention.ms and retention.bytes no longer keep, as of now. The last record of a partition stays.
func (e *embedded) sweep(ctx context.Context, now time.Time) error {
	topics, err := listTopics(ctx, e.client)
	if err != nil {
		return err
	}
	var errs []error
	for _, topic := range topics {
		info := e.cluster.TopicInfo(*topic.Topic)
		if info == nil || !deletes(info) {
			continue
		}
		if err := e.sweepTopic(ctx, info, now); err != nil {
			errs = append(errs, fmt.Errorf("topic %s: %w", info.Topic, err))
		}
	}
	return errors.Join(append(errs, e.writeMarks(ctx))...)
}

func deletes(topic *kfake.TopicInfo) bool {
	policy := topic.Configs["cleanup.policy"]
	return policy == nil || strings.Contains(*policy, "delete")
}

func (e *embedded) sweepTopic(ctx context.Context, topic *kfake.TopicInfo, now time.Time) error {
	age, limited := setting(topic, "retention.ms")
	size, sized := setting(topic, "retention.bytes")
	starts := map[int32]int64{}
	if limited {
		offsets, err := e.adm.ListOffsetsAfterMilli(ctx, now.UnixMilli()-age, topic.Topic)
		if err = errors.Join(err, offsets.Error()); err != nil {
			return err
		}
		for partition, o := range offsets[topic.Topic] {
			starts[partition] = o.Offset
		}
	}
	for _, p := range e.cluster.PartitionInfos(topic.Topic) {
		start := starts[p.Partition]
		if sized {
			kept, err := firstKeptSegment(partitionDir(e.dir, topic.Topic, p.Partition), size)
			if err != nil {
				return err
			}
			start = max(start, kept)
		}
		start = min(start, lastKept(p))
		if start <= p.LogStartOffset {
			continue
		}
		if err := e.cluster.DeleteRecords(topic.Topic, p.Partition, start); err != nil {
			return fmt.Errorf("delete up to offset %d of partition %d: %w", start, p.Partition, err)
		}
		e.log.Debug("retention", "topic", topic.Topic, "partition", p.Partition, "start", start)
	}
	return nil
}

// setting is a topic's non-negative integer setting; a negative one means no limit, in Kafka too.
func setting(topic *kfake.TopicInfo, name string) (int64, bool) {
	value := topic.Configs[name]
	if value == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(*value, 10, 64)
	return n, err == nil && n >= 0
}

// firstKeptSegment is the base offset of the oldest segment that stays when the oldest go until what is left would be smaller
// than size bytes. Like Kafka it deletes by segments, and never the newest.
func firstKeptSegment(dir string, size int64) (int64, error) {
	segments, err := listSegments(dir)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, s := range segments {
		total += s.bytes
	}
	for i, s := range segments {
		if total -= s.bytes; total < size || i == len(segments)-1 {
			return s.base, nil
		}
	}
	return 0, nil
}
