package nightly_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"marquee/features"
	"marquee/features/warehouse"
	"marquee/internal/db"
	"marquee/internal/lake"
	"marquee/internal/native"
	"marquee/internal/testkit"
	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/nightly"
	"marquee/training/registry"
)

// TestMain lets the test binary be the embedded warehouse's child, as main does.
func TestMain(m *testing.M) {
	if warehouse.IsChild() {
		os.Exit(warehouse.ChildMain())
	}
	os.Exit(m.Run())
}

var (
	// epoch is where the made-up history begins, asOf after its end, where runs look at it.
	epoch = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	asOf  = epoch.Add(100 * 24 * time.Hour)
)

// watch is one full watch.
type watch struct {
	profile, title string
	at             time.Time
}

// openWarehouse opens an embedded warehouse that holds the watches.
func openWarehouse(t testing.TB, watches []watch) driver.Conn {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", err.Error())
	}
	w, err := warehouse.Open(context.Background(), warehouse.DefaultConfig(), t.TempDir(), testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	insert(t, w.Conn(), 0, watches)
	return w.Conn()
}

// insert appends watches to the log from an offset on.
func insert(t testing.TB, conn driver.Conn, offset int64, watches []watch) {
	t.Helper()
	b, err := conn.PrepareBatch(context.Background(), `INSERT INTO events_raw (event_id, schema_version, profile_id, title_id, play_id,
		type, occurred_at, received_at, watched_ms, duration_ms, kafka_partition, kafka_offset)`)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range watches {
		id := uuid.NewSHA1(uuid.Nil, []byte(fmt.Sprint(w)))
		if err := b.Append(id, uint16(1), w.profile, w.title, id.String(), "play_end", w.at, w.at,
			int64(6_000_000), int64(6_000_000), int32(0), offset+int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
}

// tribes are profiles that each watch only what their tribe does, some titles of it more than others, at random times.
func tribes(count, size, titles, watched int) []watch {
	rng := rand.New(rand.NewPCG(1, 2))
	var out []watch
	for tribe := range count {
		for member := range size {
			seen := map[int]bool{}
			for len(seen) < watched {
				u := rng.Float64()
				seen[int(u*u*float64(titles))] = true
			}
			for title := range seen {
				out = append(out, watch{profile: fmt.Sprintf("p:%d-%d", tribe, member), title: fmt.Sprintf("t:%d-%d", tribe, title)})
			}
		}
	}
	slices.SortFunc(out, func(a, b watch) int { // the order of a map must not decide the times
		return slices.Compare([]byte(a.profile+" "+a.title), []byte(b.profile+" "+b.title))
	})
	for i := range out {
		out[i].at = epoch.Add(time.Duration(rng.IntN(90*24*3600)) * time.Second)
	}
	return out
}

// builder is the real builder as the nightly run uses it; cmd/marquee has the same adapter.
type builder struct{ *features.Builder }

func (b builder) BuildAsOf(ctx context.Context, at time.Time) (nightly.Snapshot, error) {
	return b.build(ctx, at)
}

func (b builder) BuildInteractions(ctx context.Context, at time.Time) (nightly.Snapshot, error) {
	return b.build(ctx, at, dataset.InteractionSet)
}

func (b builder) build(ctx context.Context, at time.Time, sets ...string) (nightly.Snapshot, error) {
	built, err := b.Build(ctx, features.BuildOptions{AsOf: at, Sets: sets})
	if err != nil {
		return nightly.Snapshot{}, err
	}
	return nightly.Snapshot{ID: built.ID, AsOf: built.AsOf, Hash: built.Sets[dataset.InteractionSet].SQLSHA256, New: len(built.Built) > 0}, nil
}

func (b builder) PruneSnapshots(ctx context.Context, keep int, pinned ...string) error {
	_, err := b.Prune(ctx, keep, pinned...)
	return err
}

func (b builder) RemoveSnapshots(ctx context.Context, ids ...string) error {
	return b.Remove(ctx, ids...)
}

// house is a place where nights are spent: everything real, and Pipelines as separate processes would make them.
type house struct {
	t        testing.TB
	conn     driver.Conn
	db       *db.DB
	lake     *lake.Lake
	registry *registry.Registry
	staging  string
}

func newHouse(t testing.TB, conn driver.Conn, url string) *house {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, url, "")
	if err != nil {
		t.Fatal(err)
	}
	features, err1 := lake.Open(ctx, "file://"+filepath.ToSlash(t.TempDir()))
	models, err2 := lake.Open(ctx, "file://"+filepath.ToSlash(t.TempDir()))
	if err := errors.Join(nightly.Migrate(ctx, d), err1, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(features.Close(), models.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	return &house{t: t, conn: conn, db: d, lake: features, registry: registry.New(models, testkit.Log(t)), staging: t.TempDir()}
}

func sqlite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "marquee.db") }

// eachEngine runs a test on SQLite and on PostgreSQL.
func eachEngine(t *testing.T, conn driver.Conn, test func(t *testing.T, h *house)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newHouse(t, conn, sqlite(t))) })
	t.Run("postgres", func(t *testing.T) { test(t, newHouse(t, conn, testkit.NeedPostgres(t))) })
}

// recipe is a good one for tribes: small, and quick.
func recipe() nightly.Recipe {
	c := als.DefaultConfig()
	c.Dim, c.Epochs = 8, 4
	return nightly.Recipe{ALS: c}
}

// poor is a recipe that cannot tell more than one tribe from the rest.
func poor() nightly.Recipe {
	r := recipe()
	r.ALS.Dim, r.ALS.Epochs = 1, 1
	return r
}

// pipeline is a new process's.
func (h *house) pipeline() *nightly.Pipeline {
	c := nightly.DefaultConfig()
	c.LeaseTTL = time.Hour // no test outlives it: a lease ends when a test says so
	return &nightly.Pipeline{
		Config: c, Recipe: recipe(), DB: h.db, Lake: h.lake, Registry: h.registry.As("nightly"), Staging: h.staging, Version: "test",
		Features: builder{&features.Builder{Conn: h.conn, Lake: h.lake, Log: testkit.Log(h.t)}}, Log: testkit.Log(h.t),
	}
}

// run is a run that must not fail.
func (h *house) run(p *nightly.Pipeline, at time.Time) *nightly.Summary {
	h.t.Helper()
	s, err := p.Run(context.Background(), at)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *house) current() string {
	h.t.Helper()
	c, err := h.registry.Current(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return c.ID
}

func (h *house) releases() []string {
	h.t.Helper()
	list, err := h.registry.List(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	var ids []string
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

// promote puts a release in use as an operator would, under the lease.
func (h *house) promote(id string) {
	h.t.Helper()
	ctx := context.Background()
	lease, err := h.db.AcquireLease(ctx, "nightly", "operator", time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = h.registry.Promote(ctx, id, registry.Author{By: "operator", Reason: "test", Token: lease.Token()})
	if err := errors.Join(err, lease.Release(ctx)); err != nil {
		h.t.Fatal(err)
	}
}

// damage flips a bit of a release.
func (h *house) damage(id string) {
	h.t.Helper()
	dir, err := h.registry.Fetch(context.Background(), id, h.t.TempDir())
	if err != nil {
		h.t.Fatal(err)
	}
	file := filepath.Join(dir, model.FactorsFile)
	data, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// expire ends the lease's term in the database, as if its holder had died or been silent for all of it.
func (h *house) expire() {
	h.t.Helper()
	if _, err := h.db.NewRaw("UPDATE leases SET expires_at = 1").Exec(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// journal lists what is recorded, so that tests can tell that something was or was not.
func (h *house) journal() []string {
	h.t.Helper()
	var rows []string
	if err := h.db.NewSelect().Table("nightly_steps").ColumnExpr("run || ' ' || step || ' ' || result").OrderExpr("1").
		Scan(context.Background(), &rows); err != nil {
		h.t.Fatal(err)
	}
	return rows
}

// stagingIsEmpty fails the test when something is left in the staging folder.
func (h *house) stagingIsEmpty() {
	h.t.Helper()
	if left, err := os.ReadDir(h.staging); err != nil || len(left) != 0 {
		h.t.Errorf("left in the staging folder: %v (%v)", left, err)
	}
}
