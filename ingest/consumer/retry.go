package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"marquee/ingest/ledger"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

const (
	firstRetry = 50 * time.Millisecond
	// lastRetry is also how long a consumer may idle on after its engine is back.
	lastRetry = 5 * time.Second
	// maxDeadValue bounds the bytes of a refused record that its dead letter keeps, so that the letter itself fits into a
	// record of a broker with default settings.
	maxDeadValue = 900 << 10
)

// retry repeats an attempt on a target until it succeeds, with growing pauses, for as long as the worker may work: an
// engine that is away for an hour costs an hour's lag and nothing else. Only what no repetition can mend ends it.
func (w *worker) retry(target string, attempt func(context.Context) error) error {
	pause := firstRetry
	for n := 1; ; n++ {
		started := time.Now()
		ctx, cancel := context.WithTimeout(w.work, w.m.cfg.SinkTimeout)
		err := attempt(ctx)
		cancel()
		if err == nil {
			w.m.metrics.attempt.WithLabelValues(target).Observe(time.Since(started).Seconds())
			return nil
		}
		if w.work.Err() != nil || errors.Is(err, ledger.ErrFenced) || errors.Is(err, ledger.ErrOrder) || errors.Is(err, ledger.ErrDamaged) {
			return err
		}
		w.m.metrics.retries.WithLabelValues(target).Inc()
		w.log.Error("write failed, trying again", "target", target, "attempt", n, "in", pause, "error", err)
		select {
		case <-w.work.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, lastRetry)
	}
}

// deadLetter wraps a refused record, with all there is to find and replay it: offset is where the log has it.
func deadLetter(r *kgo.Record, offset int64, refusal *watchevent.Refusal) *kgo.Record {
	letter := &ingestv1.DeadLetter{
		Topic: r.Topic, Partition: r.Partition, Offset: offset, Reason: refusal.Error(), Key: r.Key, Value: r.Value,
		RefusedAt: time.Now().UnixMicro(), ContentType: contentType(r),
	}
	if len(letter.Value) > maxDeadValue {
		letter.Reason += fmt.Sprintf(" (of its %d bytes the first %d are kept)", len(letter.Value), maxDeadValue)
		letter.Value = letter.Value[:maxDeadValue]
	}
	return &kgo.Record{Topic: ingestv1.TopicDeadLetters, Key: r.Key, Value: encodeLetter(letter)}
}

// encodeLetter writes a letter whose texts may come from anywhere: what is not UTF-8 in them is replaced, so that
// encoding cannot fail.
func encodeLetter(letter *ingestv1.DeadLetter) []byte {
	value, err := proto.Marshal(letter)
	if err == nil {
		return value
	}
	letter.Reason, letter.ContentType = strings.ToValidUTF8(letter.Reason, "�"), strings.ToValidUTF8(letter.ContentType, "�")
	if value, err = proto.Marshal(letter); err != nil {
		// Only strings can fail to encode, and both are valid now.
		panic(fmt.Sprintf("encode a dead letter: %v", err))
	}
	return value
}

// sendDead puts dead letters on their topic. Sending a range's letters again after a crash may repeat them; their
// partition and offset say so.
func (m *Module) sendDead(ctx context.Context, letters []*kgo.Record) error {
	if len(letters) == 0 {
		return nil
	}
	if err := m.client.ProduceSync(ctx, letters...).FirstErr(); err != nil {
		return fmt.Errorf("send %d dead letters: %w", len(letters), err)
	}
	return nil
}
