package features

import (
	"errors"
	"fmt"

	"marquee/features/quality"
)

// Config is the module's configuration.
type Config struct {
	// PartRows bounds one Parquet part in rows; 1000 to 100000000.
	PartRows int64 `koanf:"part_rows"`
	// PartBytes bounds one Parquet part in bytes before encoding; 1 MiB to 4 GiB.
	PartBytes int64 `koanf:"part_bytes"`
	// Quality decides which days of events are fit to train on.
	Quality quality.Config `koanf:"quality"`
}

// DefaultConfig returns the configuration used where none is given.
func DefaultConfig() Config {
	return Config{PartRows: defaultPartRows, PartBytes: defaultPartBytes, Quality: quality.DefaultConfig()}
}

// Validate returns an error naming every setting that is wrong, and what would be right.
func (c Config) Validate() error {
	var errs []error
	check := func(name string, v, least, most int64) {
		if v < least || v > most {
			errs = append(errs, fmt.Errorf("features.%s must be between %d and %d, is %d", name, least, most, v))
		}
	}
	check("part_rows", c.PartRows, 1000, 100_000_000)
	check("part_bytes", c.PartBytes, 1<<20, 4<<30)
	return errors.Join(append(errs, c.Quality.Validate())...)
}
