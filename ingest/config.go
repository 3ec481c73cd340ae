// Package ingest takes watch events in: it checks and stamps them, puts them on the broker, and answers only once the
// broker has them on disk. Its subpackages carry them on: consumer moves them in durable ranges (ledger) into the
// warehouse and the lake (sink), events reads them back, movielens imports published data sets.
package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"marquee/ingest/broker"
	ingestv1 "marquee/ingest/v1"
)

// Config is the ingest module's part of the configuration.
type Config struct {
	// Partitions is how many partitions the topic watch-events is created with. It bounds how many consumers can share
	// the work, and cannot be changed later without moving profiles between partitions.
	Partitions int32 `koanf:"partitions"`
	// Replication is the topics' replication factor; -1 means the broker's default.
	Replication int16 `koanf:"replication"`
	// Retention is how long the broker keeps watch events, by the server's clock.
	Retention time.Duration `koanf:"retention"`
	// DeadLetterRetention is how long the broker keeps refused records.
	DeadLetterRetention time.Duration `koanf:"dead_letter_retention"`

	// Linger is how long the publisher waits for more events before it writes to the broker.
	Linger time.Duration `koanf:"linger"`
	// PublishTimeout is how long an event may wait for the broker's acknowledgement before its sender is told to retry.
	PublishTimeout time.Duration `koanf:"publish_timeout"`
	// PublishBufferEvents is how many events may wait for the broker; more are turned away with advice to retry.
	PublishBufferEvents int `koanf:"publish_buffer_events"`

	// Group is the consumer group.
	Group string `koanf:"group"`
	// BatchEvents, BatchBytes and FlushInterval cut a range: at so many records, at so many bytes of records, or so long
	// after its first record arrived, whichever is first. Where a partition brings thousands of records in a flush interval,
	// a range may take three of them: fewer, larger ranges cost the warehouse less.
	BatchEvents   int           `koanf:"batch_events"`
	BatchBytes    int64         `koanf:"batch_bytes"`
	FlushInterval time.Duration `koanf:"flush_interval"`
	// BufferBytes bounds the records this process holds in memory between the broker and the sinks.
	BufferBytes int64 `koanf:"buffer_bytes"`
	// SinkTimeout bounds one attempt to write a range to a sink; a failed attempt is repeated.
	SinkTimeout time.Duration `koanf:"sink_timeout"`
	// RevokeTimeout is how long a partition that moves to another consumer waits for its range in flight; then the range
	// is abandoned and the next owner finishes it.
	RevokeTimeout time.Duration `koanf:"revoke_timeout"`
	// SessionTimeout is how long the group waits for a consumer that fell silent before it gives its partitions to others:
	// how long a crash stops some partitions, where another process runs.
	SessionTimeout time.Duration `koanf:"session_timeout"`
	// LedgerRetention is how long finished ranges stay in the ledger.
	LedgerRetention time.Duration `koanf:"ledger_retention"`
}

// DefaultConfig suits one node and a few tens of thousands of events a second.
func DefaultConfig() Config {
	return Config{
		Partitions:          4,
		Replication:         -1,
		Retention:           7 * 24 * time.Hour,
		DeadLetterRetention: 30 * 24 * time.Hour,
		Linger:              2 * time.Millisecond,
		PublishTimeout:      10 * time.Second,
		PublishBufferEvents: 100_000,
		Group:               "marquee-ingest",
		BatchEvents:         50_000,
		BatchBytes:          24 << 20,
		FlushInterval:       time.Second,
		BufferBytes:         128 << 20,
		SinkTimeout:         30 * time.Second,
		RevokeTimeout:       10 * time.Second,
		SessionTimeout:      15 * time.Second,
		LedgerRetention:     7 * 24 * time.Hour,
	}
}

// Validate says what is wrong with the configuration, naming each field as the file does.
func (c Config) Validate() error {
	const day = 24 * time.Hour
	errs := []error{
		between("partitions", c.Partitions, 1, 1024),
		between("retention", c.Retention, time.Minute, 3650*day),
		between("dead_letter_retention", c.DeadLetterRetention, time.Minute, 3650*day),
		between("linger", c.Linger, 0, time.Second),
		between("publish_timeout", c.PublishTimeout, time.Second, 5*time.Minute),
		between("publish_buffer_events", c.PublishBufferEvents, 1000, 10_000_000),
		between("batch_events", c.BatchEvents, 1, 1_000_000),
		between("batch_bytes", c.BatchBytes, 1<<10, 1<<30),
		between("flush_interval", c.FlushInterval, 10*time.Millisecond, 10*time.Minute),
		between("buffer_bytes", c.BufferBytes, c.BatchBytes, 64<<30),
		between("sink_timeout", c.SinkTimeout, time.Second, time.Hour),
		between("revoke_timeout", c.RevokeTimeout, 0, 50*time.Second),
		between("session_timeout", c.SessionTimeout, time.Second, 5*time.Minute),
		between("ledger_retention", c.LedgerRetention, time.Hour, 3650*day),
	}
	if c.Replication != -1 && (c.Replication < 1 || c.Replication > 15) {
		errs = append(errs, fmt.Errorf("ingest.replication must be -1 (the broker's default) or between 1 and 15, is %d", c.Replication))
	}
	if c.Group == "" || len(c.Group) > 249 {
		errs = append(errs, fmt.Errorf("ingest.group must have 1 to 249 bytes, has %d", len(c.Group)))
	}
	return errors.Join(errs...)
}

func between[T cmp.Ordered](field string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("ingest.%s must be between %v and %v, is %v", field, least, most, value)
	}
	return nil
}

// Topics are the topics ingest owns, as they are to be made: (*broker.Broker).EnsureTopics takes them.
func (c Config) Topics() []broker.TopicSpec {
	retention := func(d time.Duration) map[string]string {
		return map[string]string{"cleanup.policy": "delete", "retention.ms": strconv.FormatInt(d.Milliseconds(), 10)}
	}
	return []broker.TopicSpec{
		{Name: ingestv1.TopicWatchEvents, Partitions: c.Partitions, ReplicationFactor: c.Replication, Configs: retention(c.Retention)},
		{Name: ingestv1.TopicDeadLetters, Partitions: 1, ReplicationFactor: c.Replication, Configs: retention(c.DeadLetterRetention)},
	}
}
