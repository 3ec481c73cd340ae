package broker

import (
	"errors"
	"fmt"
	"time"
)

// Config is the broker's part of the configuration.
type Config struct {
	// URL says which broker:
	//
	//	embedded:                    inside this process, its log in the data folder
	//	embedded:DIR                 the same in DIR
	//	kafka://[user:pass@]host[:9092][,host…][?options]
	//
	// Options of embedded are accept_loss=true (see LossError). Options of kafka are sasl=plain|scram-sha-256|scram-sha-512,
	// tls=true, ca=FILE, cert=FILE, key=FILE and insecure=true (TLS without checking who answers).
	URL string `koanf:"url"`
	// ConnectTimeout bounds how long Open waits for a broker's first answer, and every later dial.
	ConnectTimeout time.Duration `koanf:"connect_timeout"`
	// MaxBatchBytes bounds what a client writes to one partition at once, and so one record. Topics are created to take it.
	MaxBatchBytes int32 `koanf:"max_batch_bytes"`
	// MaxBytes bounds the embedded broker's log on disk; one that is full refuses what comes until retention has made room. 0
	// means no bound.
	MaxBytes int64 `koanf:"max_bytes"`
	// MinFreeBytes is what the embedded broker leaves free of its disk; it refuses what comes when there is less.
	MinFreeBytes int64 `koanf:"min_free_bytes"`
}

// DefaultConfig is the embedded broker in the data folder.
func DefaultConfig() Config {
	return Config{URL: "embedded:", ConnectTimeout: 10 * time.Second, MaxBatchBytes: 1 << 20, MinFreeBytes: 256 << 20}
}

// Validate says what is wrong with the configuration, naming each field as the file does.
func (c Config) Validate() error {
	var errs []error
	if _, err := parse(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("broker.url: %w", err))
	}
	if c.ConnectTimeout < 100*time.Millisecond || c.ConnectTimeout > 10*time.Minute {
		errs = append(errs, fmt.Errorf("broker.connect_timeout must be between 100ms and 10m0s, is %v", c.ConnectTimeout))
	}
	if c.MaxBatchBytes < 64<<10 || c.MaxBatchBytes > 64<<20 {
		errs = append(errs, fmt.Errorf("broker.max_batch_bytes must be between %d and %d, is %d", 64<<10, 64<<20, c.MaxBatchBytes))
	}
	if c.MaxBytes < 0 || c.MaxBytes > 0 && c.MaxBytes < int64(c.MaxBatchBytes) {
		errs = append(errs, fmt.Errorf("broker.max_bytes must be 0 (no bound) or at least broker.max_batch_bytes (%d), is %d", c.MaxBatchBytes, c.MaxBytes))
	}
	if c.MinFreeBytes < 0 || c.MinFreeBytes > 1<<50 {
		errs = append(errs, fmt.Errorf("broker.min_free_bytes must be between 0 and %d, is %d", int64(1)<<50, c.MinFreeBytes))
	}
	return errors.Join(errs...)
}
