// Package catalog is the module that owns titles: the CatalogService, its store, and the relay that publishes every
// change on the topic title-changes.
//
// A change and its place in the outbox are one transaction. The relay, one at a time in the whole deployment, publishes
// what is in the outbox by growing revision and then removes it. It may publish a change twice but never loses one, and
// never publishes an older revision of a title after a newer one.
package catalog

import (
	"errors"
	"fmt"
	"time"
)

// Config is the catalogue's settings.
type Config struct {
	// RelayLease is how long another process waits before it takes over from a relay that died.
	RelayLease time.Duration `koanf:"relay_lease"`
	// RelayPoll is how often the relay looks for changes that another process made; it hears of its own process's at once.
	RelayPoll time.Duration `koanf:"relay_poll"`
	// RelayBatch is how many titles are published in one transaction.
	RelayBatch int `koanf:"relay_batch"`
	// MaxTitleBytes is the greatest serialized title. It must fit the broker's message limit.
	MaxTitleBytes int `koanf:"max_title_bytes"`
}

// maxTitleBytes leaves room for key and framing in the 1 MB that a Kafka record may have by default.
const maxTitleBytes = 1_000_000

// DefaultConfig is right for one node and for a cluster.
func DefaultConfig() Config {
	return Config{RelayLease: 10 * time.Second, RelayPoll: time.Second, RelayBatch: 500, MaxTitleBytes: 512 << 10}
}

// Validate names every setting that is out of range.
func (c Config) Validate() error {
	var errs []error
	if c.RelayLease < time.Second || c.RelayLease > 10*time.Minute {
		errs = append(errs, fmt.Errorf("catalog.relay_lease must be between 1s and 10m, is %s", c.RelayLease))
	}
	if c.RelayPoll < 10*time.Millisecond || c.RelayPoll > time.Minute {
		errs = append(errs, fmt.Errorf("catalog.relay_poll must be between 10ms and 1m, is %s", c.RelayPoll))
	}
	if c.RelayBatch < 1 || c.RelayBatch > 10_000 {
		errs = append(errs, fmt.Errorf("catalog.relay_batch must be between 1 and 10000, is %d", c.RelayBatch))
	}
	if c.MaxTitleBytes < 1024 || c.MaxTitleBytes > maxTitleBytes {
		errs = append(errs, fmt.Errorf("catalog.max_title_bytes must be between 1024 and %d, is %d", maxTitleBytes, c.MaxTitleBytes))
	}
	return errors.Join(errs...)
}
