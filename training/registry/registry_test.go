package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"marquee/internal/lake"
	"marquee/internal/testkit"
	"marquee/training/foldin"
	"marquee/training/model"
)

// bundle writes a small release; releases with a higher number are later ones.
func bundle(t testing.TB, number int) (dir, id string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(number), 1))
	at := time.Date(2026, 11, number, 3, 0, 0, 0, time.UTC)
	r := model.Release{Manifest: model.Manifest{
		AsOf: at, Created: at, Seed: uint64(number), CodeVersion: "test", Params: foldin.Params{Alpha: 1, Unobserved: .1, Lambda: .1, Nu: 1},
	}}
	for i := range 8 {
		r.TitleIDs = append(r.TitleIDs, fmt.Sprintf("t:%d", i))
		r.Popularity, r.Trending = append(r.Popularity, 1), append(r.Trending, 1)
		for range 4 {
			r.Factors = append(r.Factors, rng.Float32())
		}
	}
	dir, m, err := model.Write(context.Background(), t.TempDir(), r)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m.ID
}

// onEachStore runs a test on a folder and on an object store.
func onEachStore(t *testing.T, test func(t *testing.T, l *lake.Lake)) {
	for _, kind := range []string{"folder", "objects"} {
		t.Run(kind, func(t *testing.T) {
			url := "mem://"
			if kind == "folder" {
				url = "file://" + t.TempDir()
			}
			l, err := lake.Open(context.Background(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			test(t, l)
		})
	}
}

func publish(t *testing.T, r *Registry, number int) string {
	t.Helper()
	dir, want := bundle(t, number)
	id, err := r.Publish(context.Background(), dir)
	if err != nil || id != want {
		t.Fatalf("published as %q (%v), want %q", id, err, want)
	}
	return id
}

func promote(t *testing.T, r *Registry, id string, token int64) Current {
	t.Helper()
	c, err := r.Promote(context.Background(), id, Author{By: "test", Reason: "because", Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func inUse(t *testing.T, r *Registry) string {
	t.Helper()
	c, err := r.Current(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func TestPublishPromoteRollBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, l *lake.Lake) {
		ctx, r := context.Background(), New(l, testkit.Log(t))
		if id := inUse(t, r); id != "" {
			t.Fatalf("an empty registry uses %q", id)
		}
		if _, err := r.Rollback(ctx, Author{}); !errors.Is(err, ErrNoRollback) {
			t.Errorf("rolling back nothing: %v", err)
		}
		a, b, c := publish(t, r, 1), publish(t, r, 2), publish(t, r, 3)
		if again := publish(t, r, 2); again != b || inUse(t, r) != "" {
			t.Error("publishing again, or publishing at all, changed the release in use")
		}
		list, err := r.List(ctx)
		if err != nil || len(list) != 3 || list[0].ID != c || list[2].ID != a {
			t.Fatalf("%d releases listed, want 3, the latest first (%v)", len(list), err)
		}
		promote(t, r, a, 1)
		promote(t, r, b, 1)
		cur := promote(t, r, c, 2)
		if cur.ID != c || !slices.Equal(cur.Previous, []string{b, a}) || len(cur.Changes) != 3 || cur.Changes[0].From != b || cur.Changes[0].By != "test" {
			t.Fatalf("after three promotions: %+v", cur)
		}
		if same := promote(t, r, c, 3); len(same.Changes) != 3 {
			t.Error("promoting the release in use was recorded as a change")
		}
		for _, want := range []string{b, a} {
			if cur, err = r.Rollback(ctx, Author{By: "operator", Reason: "worse", Token: 4}); err != nil || cur.ID != want {
				t.Fatalf("rolled back to %q (%v), want %q", cur.ID, err, want)
			}
		}
		if cur.Changes[0].Kind != RolledBack || cur.Changes[0].From != b {
			t.Errorf("last change %+v", cur.Changes[0])
		}
		if _, err := r.Rollback(ctx, Author{Token: 4}); !errors.Is(err, ErrNoRollback) || inUse(t, r) != a {
			t.Errorf("rolling back past the first release: %v", err)
		}
		// A release promoted again is not its own predecessor.
		promote(t, r, b, 4)
		if cur = promote(t, r, a, 4); !slices.Equal(cur.Previous, []string{b}) {
			t.Errorf("previous releases %v, want only %s", cur.Previous, b)
		}
	})
}

func TestRefusals(t *testing.T) {
	onEachStore(t, func(t *testing.T, l *lake.Lake) {
		ctx, r := context.Background(), New(l, testkit.Log(t))
		a, b := publish(t, r, 1), publish(t, r, 2)
		promote(t, r, a, 7)
		if _, err := r.Promote(ctx, b, Author{Token: 6}); !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), "token 6") {
			t.Errorf("a superseded writer: %v", err)
		}
		if _, err := r.Rollback(ctx, Author{Token: 6}); !errors.Is(err, ErrFenced) {
			t.Errorf("a superseded writer rolls back: %v", err)
		}
		for _, id := range []string{"nothing", "../../etc", ""} {
			if _, err := r.Promote(ctx, id, Author{Token: 8}); !errors.Is(err, ErrUnknown) {
				t.Errorf("promote %q: %v", id, err)
			}
			if _, err := r.Fetch(ctx, id, t.TempDir()); !errors.Is(err, ErrUnknown) {
				t.Errorf("fetch %q: %v", id, err)
			}
		}
		if err := l.Delete(ctx, key(b, model.FactorsFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Promote(ctx, b, Author{Token: 8}); !errors.Is(err, model.ErrCorrupt) {
			t.Errorf("a release that lost a file: %v", err)
		}
		if err := r.Verify(ctx, b); !errors.Is(err, model.ErrCorrupt) {
			t.Errorf("a release that lost a file is whole: %v", err)
		}
		dir, _ := bundle(t, 3)
		if err := os.Truncate(filepath.Join(dir, model.TitlesFile), 5); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish(ctx, dir); !errors.Is(err, model.ErrCorrupt) {
			t.Errorf("publishing a damaged bundle: %v", err)
		}
		if id := inUse(t, r); id != a {
			t.Errorf("after refusals %q is in use, want %q", id, a)
		}
		if _, err := l.WriteBytes(ctx, currentKey, []byte(`{"version":1`)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Current(ctx); err == nil || !strings.Contains(err.Error(), "current.json is damaged") || !strings.Contains(err.Error(), "delete it") {
			t.Errorf("a damaged current.json: %v", err)
		}
	})
}

// TestFlippedBits: a file of the right size and the wrong content.
func TestFlippedBits(t *testing.T) {
	onEachStore(t, func(t *testing.T, l *lake.Lake) {
		ctx, r := context.Background(), New(l, testkit.Log(t))
		first, second, third := publish(t, r, 1), publish(t, r, 2), publish(t, r, 3)
		for i, id := range []string{first, second, third} {
			promote(t, r, id, int64(i))
		}
		data, err := l.ReadFile(ctx, key(second, model.FactorsFile))
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if _, err := l.WriteBytes(ctx, key(second, model.FactorsFile), data); err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(ctx, second); !errors.Is(err, model.ErrCorrupt) || !strings.Contains(err.Error(), model.FactorsFile) {
			t.Errorf("a flipped bit: %v", err)
		}
		if err := errors.Join(r.Verify(ctx, first), r.Verify(ctx, third)); err != nil {
			t.Error(err)
		}
		if err := r.Verify(ctx, "nothing"); !errors.Is(err, ErrUnknown) {
			t.Errorf("verified what is not there: %v", err)
		}
		if c, err := r.Rollback(ctx, Author{Token: 3}); err != nil || c.ID != first {
			t.Errorf("rolled back to %s (%v), want the whole release %s", c.ID, err, first)
		}
		dir, _ := bundle(t, 2)
		if _, err := r.Publish(ctx, dir); err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(ctx, second); err != nil {
			t.Errorf("published again: %v", err)
		}
	})
}

func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	onEachStore(t, func(t *testing.T, l *lake.Lake) {
		ctx, r := context.Background(), New(l, testkit.Log(t))
		var ids []string
		for n := 1; n <= 7; n++ {
			ids = append(ids, publish(t, r, n))
		}
		promote(t, r, ids[1], 1)
		promote(t, r, ids[0], 1)
		if _, err := l.WriteBytes(ctx, key("unfinished", model.TitlesFile), []byte("x")); err != nil {
			t.Fatal(err)
		}
		deleted, err := r.Prune(ctx, 2)
		slices.Sort(deleted)
		if err != nil || !slices.Equal(deleted, ids[2:5]) {
			t.Fatalf("deleted %v (%v), want %v", deleted, err, ids[2:5])
		}
		if c, err := r.Rollback(ctx, Author{Token: 1}); err != nil || c.ID != ids[1] {
			t.Errorf("after pruning, rolled back to %q (%v), want %q", c.ID, err, ids[1])
		}
		if _, err := r.Manifest(ctx, ids[3]); !errors.Is(err, ErrUnknown) {
			t.Errorf("a pruned release: %v", err)
		}
		if content, err := l.ReadFile(ctx, key("unfinished", model.TitlesFile)); err != nil || len(content) != 1 {
			t.Error("a release still being published was deleted")
		}
		if _, err := r.Prune(ctx, 0); err == nil {
			t.Error("keeping none was accepted")
		}
	})
}

func TestAbandonedUploads(t *testing.T) {
	now := time.Now()
	old, fresh := lake.Object{ModTime: now.Add(-25 * time.Hour)}, lake.Object{ModTime: now}
	if !(&stored{files: []lake.Object{old, old}}).abandoned(now) || (&stored{files: []lake.Object{old, fresh}}).abandoned(now) {
		t.Error("an upload is abandoned when all of its files are a day old, and not before")
	}
}

func TestFetchAndOpen(t *testing.T) {
	onEachStore(t, func(t *testing.T, l *lake.Lake) {
		ctx, r, cache := context.Background(), New(l, testkit.Log(t)), t.TempDir()
		ids := []string{publish(t, r, 1), publish(t, r, 2), publish(t, r, 3)}
		source := r.Source(cache)
		for _, id := range ids {
			promote(t, r, id, 1)
			current, err := source.Current(ctx)
			if err != nil || current != id {
				t.Fatalf("current is %q (%v)", current, err)
			}
			b, err := source.Open(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if b.ID() != id {
				t.Errorf("opened %s as %s", id, b.ID())
			}
			if err := b.Release(); err != nil {
				t.Error(err)
			}
		}
		dir, err := r.Fetch(ctx, ids[2], cache)
		if err != nil {
			t.Fatal(err)
		}
		if _, local := l.Dir(); local {
			if strings.HasPrefix(dir, cache) {
				t.Error("a folder's release was copied")
			}
			return
		}
		entries, err := os.ReadDir(cache)
		if err != nil || len(entries) != 2 {
			t.Errorf("%d copies in the cache (%v), want the one in use and the one before", len(entries), err)
		}
		// A damaged copy is replaced; a damaged original is refused.
		if err := os.Truncate(filepath.Join(dir, model.TitlesFile), 3); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Fetch(ctx, ids[2], cache); err != nil {
			t.Errorf("a damaged copy: %v", err)
		}
		if _, err := model.Verify(dir); err != nil {
			t.Errorf("the copy was not replaced: %v", err)
		}
		if _, err := l.WriteBytes(ctx, key(ids[0], model.TitlesFile), []byte("wrong")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Fetch(ctx, ids[0], cache); !errors.Is(err, model.ErrCorrupt) {
			t.Errorf("a damaged original: %v", err)
		}
	})
}

var errCrash = errors.New("the process died here")

// dying is a store whose process dies after a number of changes: the next one, and everything after, fails.
type dying struct {
	*lake.Lake
	left int
}

func (d *dying) step() error {
	if d.left--; d.left < 0 {
		return errCrash
	}
	return nil
}

func (d *dying) WriteFile(ctx context.Context, key string, write func(io.Writer) error) (lake.FileInfo, error) {
	if err := d.step(); err != nil {
		return lake.FileInfo{}, err
	}
	return d.Lake.WriteFile(ctx, key, write)
}

func (d *dying) Delete(ctx context.Context, key string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Lake.Delete(ctx, key)
}

func (d *dying) List(ctx context.Context, prefix string) iter.Seq2[lake.Object, error] {
	return d.Lake.List(ctx, prefix)
}

// TestDeathBetweenAnyTwoSteps kills publish, promote, roll back and prune after every number of changes. Whatever is
// left, a release that works is in use, every listed release is whole, and doing it again succeeds.
func TestDeathBetweenAnyTwoSteps(t *testing.T) {
	onEachStore(t, func(t *testing.T, l *lake.Lake) {
		ctx := context.Background()
		good := New(l, testkit.Log(t))
		old := publish(t, good, 1)
		promote(t, good, old, 1)
		expect := map[string]bool{old: true}
		for number := 2; number <= 4; number++ {
			dir, id := bundle(t, number)
			expect[id] = true
			everything := func(r *Registry) error {
				if _, err := r.Publish(ctx, dir); err != nil {
					return err
				}
				a := Author{By: "test", Reason: "crash", Token: int64(number)}
				if _, err := r.Promote(ctx, id, a); err != nil {
					return err
				}
				if _, err := r.Rollback(ctx, a); err != nil {
					return err
				}
				if _, err := r.Promote(ctx, id, a); err != nil {
					return err
				}
				_, err := r.Prune(ctx, 1)
				return err
			}
			for steps := 0; ; steps++ {
				err := everything(New(&dying{Lake: l, left: steps}, testkit.Log(t)))
				c := inUse(t, good)
				if !expect[c] {
					t.Fatalf("after %d steps %q is in use", steps, c)
				}
				if err := good.check(ctx, c); err != nil {
					t.Fatalf("after %d steps the release in use is broken: %v", steps, err)
				}
				list, listErr := good.List(ctx)
				if listErr != nil {
					t.Fatal(listErr)
				}
				for _, m := range list {
					if err := good.check(ctx, m.ID); err != nil {
						t.Fatalf("after %d steps a listed release is broken: %v", steps, err)
					}
				}
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatalf("after %d steps: %v", steps, err)
				}
			}
			if c := inUse(t, good); c != id {
				t.Fatalf("in the end %q is in use, want %q", c, id)
			}
		}
	})
}

func TestAuthorsView(t *testing.T) {
	onEachStore(t, func(t *testing.T, l *lake.Lake) {
		ctx, r := context.Background(), New(l, testkit.Log(t))
		w := r.As("nightly")
		dir, id := bundle(t, 1)
		if err := errors.Join(w.PublishDir(ctx, dir), w.PromoteID(ctx, id, "better", 3), w.PruneReleases(ctx, 2)); err != nil {
			t.Fatal(err)
		}
		if got, err := w.CurrentID(ctx); err != nil || got != id {
			t.Errorf("current is %q (%v)", got, err)
		}
		if m, err := w.Manifest(ctx, id); err != nil || m.Seed != 1 {
			t.Errorf("manifest %+v (%v)", m, err)
		}
		c, err := r.Current(ctx)
		if err != nil || c.Changes[0].By != "nightly" || c.Changes[0].Reason != "better" {
			t.Errorf("change %+v (%v)", c.Changes, err)
		}
	})
}

func TestLongHistoryStaysReadable(t *testing.T) {
	l, err := lake.Open(context.Background(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	r := New(l, testkit.Log(t))
	ids := []string{publish(t, r, 1), publish(t, r, 2)}
	for n := range 2*keptChanges + 5 {
		a := Author{By: strings.Repeat("\"", 5000), Reason: strings.Repeat("é", 5000), Token: 1}
		if _, err := r.Promote(context.Background(), ids[n%2], a); err != nil {
			t.Fatal(err)
		}
	}
	c, err := r.Current(context.Background())
	if err != nil || len(c.Changes) != keptChanges || !slices.Equal(c.Previous, ids[1:]) {
		t.Errorf("%d changes and previous %v remembered (%v)", len(c.Changes), c.Previous, err)
	}
}

func FuzzDecodeCurrent(f *testing.F) {
	good, err := json.Marshal(Current{
		Version: 1, ID: "20261123T030000Z-abc", Previous: []string{"a", "b"}, Token: 5,
		Changes: []Change{{Kind: Promoted, ID: "a", At: time.Now().UTC()}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"id":"../x"}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeCurrent(data)
		if err != nil {
			return
		}
		if !model.ValidID(c.ID) || c.Token < 0 {
			t.Fatalf("accepted %+v", c)
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeCurrent(again); err != nil {
			t.Fatalf("its own encoding is refused: %v", err)
		}
	})
}
