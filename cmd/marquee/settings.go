package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"marquee/catalog"
	"marquee/features"
	"marquee/features/warehouse"
	"marquee/ingest"
	"marquee/ingest/broker"
	"marquee/ingest/compact"
	"marquee/internal/auth"
	"marquee/internal/config"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/rpc"
	"marquee/internal/telemetry"
	"marquee/serving"
	"marquee/training/als"
	"marquee/training/nightly"
	"marquee/training/ranker"
	"marquee/training/twotower"
)

// settings are all settings there are; config.example.yaml lists and explains them, and a test holds the two together.
type settings struct {
	// DataDir is the folder of the embedded engines and of local files.
	DataDir string `koanf:"data_dir"`
	// Modules are what serve runs: all, or some of catalog, ingest, features and recommend.
	Modules []string `koanf:"modules"`
	// Drain is how long a service that was told to stop may take to finish what it is doing. Calls get half of it, then they
	// are cut off.
	Drain time.Duration `koanf:"drain"`

	RPC        rpc.Config       `koanf:"rpc"`
	Auth       auth.Config      `koanf:"auth"`
	Telemetry  telemetry.Config `koanf:"telemetry"`
	Broker     broker.Config    `koanf:"broker"`
	Warehouse  warehouse.Config `koanf:"warehouse"`
	Lake       storeSettings    `koanf:"lake"`
	Models     storeSettings    `koanf:"models"`
	Database   databaseSettings `koanf:"database"`
	Catalog    catalog.Config   `koanf:"catalog"`
	Ingest     ingest.Config    `koanf:"ingest"`
	Compaction compact.Config   `koanf:"compaction"`
	Features   features.Config  `koanf:"features"`
	Training   trainingSettings `koanf:"training"`
	Serving    serving.Config   `koanf:"serving"`
}

// storeSettings name a folder or an object store. An empty URL is a folder in the data folder.
type storeSettings struct {
	// URL is file:///DIR, s3://BUCKET?region=…&prefix=… or gs://BUCKET?prefix=…; empty is a folder in the data folder.
	URL string `koanf:"url"`
}

type databaseSettings struct {
	// URL is sqlite: (marquee.db in the data folder), sqlite:FILE or postgres://user:password@host/database.
	URL string `koanf:"url"`
}

type trainingSettings struct {
	ALS    als.Config    `koanf:"als"`
	Ranker ranker.Config `koanf:"ranker"`
	// TwoTower is of the night's two towers.
	TwoTower twotower.Config `koanf:"twotower"`
	Nightly  nightly.Config  `koanf:"nightly"`
}

// recipe is what nights train by.
func (t trainingSettings) recipe() nightly.Recipe {
	return nightly.Recipe{ALS: t.ALS, Ranker: t.Ranker, Towers: t.TwoTower}
}

func defaultSettings() settings {
	return settings{
		DataDir: "data", Modules: []string{"all"}, Drain: 20 * time.Second,
		RPC: rpc.DefaultConfig(), Auth: auth.DefaultConfig(), Telemetry: telemetry.DefaultConfig(),
		Broker: broker.DefaultConfig(), Warehouse: warehouse.DefaultConfig(), Database: databaseSettings{URL: "sqlite:"},
		Catalog: catalog.DefaultConfig(), Ingest: ingest.DefaultConfig(), Compaction: compact.DefaultConfig(), Features: features.DefaultConfig(),
		Training: trainingSettings{ALS: als.DefaultConfig(), Ranker: ranker.DefaultConfig(), TwoTower: nightly.DefaultTowers(), Nightly: nightly.DefaultConfig()},
		Serving:  serving.DefaultConfig(),
	}
}

// Validate says everything that is wrong with the settings.
func (s settings) Validate() error {
	errs := []error{
		s.RPC.Validate(), s.Auth.Validate(), s.Auth.CheckListen(s.RPC.Listen), s.Telemetry.Validate(), s.Broker.Validate(), s.Warehouse.Validate(), s.Catalog.Validate(),
		s.Ingest.Validate(), s.Compaction.Validate(), s.Features.Validate(), s.Training.recipe().Validate(), s.Training.Nightly.Validate(), s.Serving.Validate(),
	}
	if s.DataDir == "" {
		errs = append(errs, errors.New("data_dir must name a folder"))
	}
	if s.Drain < 100*time.Millisecond || s.Drain > time.Hour {
		errs = append(errs, fmt.Errorf("drain must be between 100ms and 1h, is %s", s.Drain))
	}
	if _, err := chosenModules(s.Modules); err != nil {
		errs = append(errs, err)
	}
	if err := lake.CheckURL(s.lakeURL()); err != nil {
		errs = append(errs, fmt.Errorf("lake.url: %w", err))
	}
	if err := lake.CheckURL(s.modelsURL()); err != nil {
		errs = append(errs, fmt.Errorf("models.url: %w", err))
	}
	if err := db.CheckURL(s.Database.URL); err != nil {
		errs = append(errs, fmt.Errorf("database.url: %w", err))
	}
	return errors.Join(errs...)
}

func (s settings) lakeURL() string   { return s.store(s.Lake.URL, "lake") }
func (s settings) modelsURL() string { return s.store(s.Models.URL, "models") }

// store is the URL given, or that of the folder of that name in the data folder.
func (s settings) store(given, folder string) string {
	if given != "" {
		return given
	}
	abs, err := filepath.Abs(filepath.Join(s.DataDir, folder))
	if err != nil {
		// Only when the working folder is gone, and then nothing opens; the relative path says as much.
		abs = filepath.Join(s.DataDir, folder)
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
}

// reserved are environment variables with the settings' prefix that are not settings.
func reserved() []string {
	return []string{"MARQUEE_CONFIG", "MARQUEE_NATIVE_DIR", "MARQUEE_WAREHOUSE_CHILD", tokenVariable, "MARQUEE_TEST_*"}
}

// load reads and checks the settings of this call.
func (c *console) load(environ []string) (settings, error) {
	s, err := config.Load(defaultSettings(), config.Source{
		File: c.globals.Config, Environ: environ, Reserved: reserved(), Overrides: c.globals.overrides(),
	})
	if err != nil {
		return s, usageError{err}
	}
	if err := s.Validate(); err != nil {
		return s, usageError{err}
	}
	return s, nil
}
