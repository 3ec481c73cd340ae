package serving

import (
	"errors"
	"fmt"
	"time"

	"marquee/serving/arrange"
	"marquee/serving/experiment"
	"marquee/serving/rank"
	"marquee/serving/served"
	"marquee/serving/state"
)

// Config is how recommendations are made.
type Config struct {
	// Candidates is how many titles the factors, the towers and the neighbours of the history give for one list, each, at least. More are better
	// and dearer: of 3,700 simulated titles, 200 brought 2.8% more clicks than 100 for a quarter more processor time, 60 brought 2% fewer.
	Candidates int `koanf:"candidates"`
	// PageCandidates is how many the factors give for a home page, whose rows of genres share them.
	PageCandidates int `koanf:"page_candidates"`
	// NewFor is how long a title is new after it entered the service.
	NewFor time.Duration `koanf:"new_for"`
	// SourceTimeout is for how long an answer's sources of candidates are asked; those whose turn comes later are left out of it. What
	// the release finds is never left out.
	SourceTimeout time.Duration `koanf:"source_timeout"`
	// MinPositionWait bounds how long an answer waits for the events it was asked to include.
	MinPositionWait time.Duration `koanf:"min_position_wait"`
	// ReleasePoll is how often a newly promoted release is looked for.
	ReleasePoll time.Duration `koanf:"release_poll"`
	// CatalogRefresh is how often a change of the catalogue is looked for.
	CatalogRefresh time.Duration `koanf:"catalog_refresh"`
	// MaxTitleIDs bounds the title ids the process remembers, those that events name and no catalogue knows among them.
	MaxTitleIDs int `koanf:"max_title_ids"`
	// Experiments are those that run, each a name and its arms with their weights and the settings they change, as in
	// "variety: control 90; varied 10 diversity=0.3 exploration=0.05". There are diversity, exploration, cold_share, trending_boost,
	// candidates and boost, a CEL expression in quotes.
	Experiments []string       `koanf:"experiments"`
	State       state.Config   `koanf:"state"`
	Rank        rank.Config    `koanf:"rank"`
	Arrange     arrange.Config `koanf:"arrange"`
	Served      served.Config  `koanf:"served"`
}

// DefaultConfig suits a catalogue of some thousands to some hundred thousand titles.
func DefaultConfig() Config {
	return Config{
		Candidates:      100,
		PageCandidates:  400,
		NewFor:          90 * 24 * time.Hour,
		SourceTimeout:   20 * time.Millisecond,
		MinPositionWait: 5 * time.Second,
		ReleasePoll:     2 * time.Second,
		CatalogRefresh:  250 * time.Millisecond,
		MaxTitleIDs:     4_000_000,
		Experiments:     []string{},
		Served:          served.DefaultConfig(),
		State:           state.DefaultConfig(),
		Rank:            rank.DefaultConfig(),
		Arrange:         arrange.DefaultConfig(),
	}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"candidates", c.Candidates, 1, 100_000},
		{"page_candidates", c.PageCandidates, 1, 100_000},
		{"max_title_ids", c.MaxTitleIDs, 1000, 1 << 30},
	} {
		if f.v < f.lo || f.v > f.hi {
			errs = append(errs, fmt.Errorf("serving.%s must be between %d and %d, is %d", f.name, f.lo, f.hi, f.v))
		}
	}
	for _, f := range []struct {
		name      string
		v, lo, hi time.Duration
	}{
		{"new_for", c.NewFor, time.Hour, 100 * 365 * 24 * time.Hour},
		{"source_timeout", c.SourceTimeout, time.Microsecond, time.Minute},
		{"min_position_wait", c.MinPositionWait, time.Millisecond, time.Hour},
		{"release_poll", c.ReleasePoll, 10 * time.Millisecond, time.Hour},
		{"catalog_refresh", c.CatalogRefresh, 10 * time.Millisecond, time.Hour},
	} {
		if f.v < f.lo || f.v > f.hi {
			errs = append(errs, fmt.Errorf("serving.%s must be between %s and %s, is %s", f.name, f.lo, f.hi, f.v))
		}
	}
	if _, err := experiment.ParseAll(c.Experiments); err != nil {
		errs = append(errs, fmt.Errorf("serving.experiments: %w", err))
	}
	return errors.Join(append(errs, c.Served.Validate(), c.State.Validate(), c.Rank.Validate(), c.Arrange.Validate())...)
}
