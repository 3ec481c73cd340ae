package crash

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"marquee/internal/native"
	"marquee/internal/testkit"
	"marquee/internal/testkit/kafka"
)

// options are for real runs; every call has a seed of its own, which the test's output shows.
func options(t *testing.T) Options {
	t.Helper()
	if _, err := native.LibraryPath(native.ChDB); err != nil {
		testkit.LeftOut(t, "the embedded warehouse", "make setup")
	}
	opts := Options{Binary: filepath.Join(t.TempDir(), "marquee"), Seed: rand.Uint64(), Dir: t.TempDir()}
	if err := Build(t.Context(), opts.Binary); err != nil {
		t.Fatal(err)
	}
	return opts
}

// TestCrash is ten runs of the harness on both layouts, and one more in which the service breaks its order on purpose.
func TestCrash(t *testing.T) {
	opts := options(t)
	t.Run("nothing is lost or counted twice", func(t *testing.T) {
		opts := opts
		opts.Runs, opts.Out, opts.KafkaCache = 10, t.Output(), kafka.Cache(testkit.ProjectRoot(t))
		if err := kafka.Ready(opts.KafkaCache); err != nil {
			testkit.LeftOut(t, "Kafka (Java and its jars)", "install a Java runtime and run make kafka-jars")
		}
		report, err := Run(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Failures {
			t.Errorf("%s\nagain: make crash RUNS=10 SEED=%d", f, opts.Seed)
		}
		if report.Runs != 10 || report.Acknowledged == 0 || report.Duplicates == 0 || report.Recoveries < 10 {
			t.Errorf("%+v", report)
		}
	})
	t.Run("a broken order is noticed", func(t *testing.T) {
		opts := opts
		opts.Runs, opts.Out, opts.Layout, opts.OutOfOrder = 1, t.Output(), Embedded, true
		opts.Fault = Fault{Kind: Point, At: "lake.before"}.String()
		report, err := Run(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Failures) != 1 || !strings.Contains(report.Failures[0].Error, "the lake has") {
			t.Errorf("a service that marks ranges before it writes them passes: %+v", report.Failures)
		}
	})
}

func TestTheSameSeedDealsTheSameFaults(t *testing.T) {
	deal := func(seed uint64) (dealt []string) {
		d := newDeck(rand.New(rand.NewPCG(seed, 2)), clusterFaults(), "")
		for range 40 {
			dealt = append(dealt, d.deal().String())
		}
		return dealt
	}
	a, b, other := deal(1), deal(1), deal(2)
	if strings.Join(a, "\n") != strings.Join(b, "\n") || strings.Join(a, "\n") == strings.Join(other, "\n") {
		t.Error("faults do not follow the seed")
	}
	seen := map[string]bool{}
	for _, f := range a[:len(clusterFaults())] {
		seen[f] = true
	}
	if len(seen) != len(clusterFaults()) {
		t.Errorf("the first deck has %d faults of %d", len(seen), len(clusterFaults()))
	}
	if d := newDeck(rand.New(rand.NewPCG(1, 2)), embeddedFaults(), string(KillKafka)); !d.empty() {
		t.Error("an embedded world has a Kafka to kill")
	}
}

func TestComparing(t *testing.T) {
	var s sent
	random := rand.New(rand.NewPCG(1, 1))
	list := []event{newEvent(random), newEvent(random), newEvent(random)}
	s.acknowledge(list)
	ids := s.ids.String()
	right := counts{Warehouse: 3, Lake: 3, WarehouseIDs: ids, LakeIDs: ids, WarehouseContent: "c", LakeContent: "c"}
	for want, change := range map[string]func(*counts){
		"":                        func(*counts) {},
		"the warehouse has 2":     func(c *counts) { c.Warehouse = 2 },
		"the lake has 4":          func(c *counts) { c.Lake = 4 },
		"as many and not the sam": func(c *counts) { c.LakeIDs = "x" },
		"different contents":      func(c *counts) { c.LakeContent = "d" },
	} {
		stored := right
		change(&stored)
		err := compare(&s, stored)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", stored, err, want)
		}
	}
}

func TestEventsAreOfManyShapes(t *testing.T) {
	pattern := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	random := rand.New(rand.NewPCG(3, 3))
	types, ids := map[string]bool{}, map[string]bool{}
	for range 500 {
		e := newEvent(random)
		types[e.Type], ids[e.EventID] = true, true
		if !pattern.MatchString(e.EventID) {
			t.Fatalf("%s is no UUID of version 7", e.EventID)
		}
	}
	if len(types) != 5 || len(ids) != 500 {
		t.Errorf("%d types, %d ids", len(types), len(ids))
	}
}

func TestTheReportEndsWithJSON(t *testing.T) {
	r := newReport(7)
	r.add(RunResult{Run: 0, Layout: Embedded, Fault: "kill service", Acknowledged: 10, Recoveries: 1, Seconds: 2})
	r.add(RunResult{Run: 1, Layout: Cluster, Fault: "kill kafka", Acknowledged: 5, Seconds: 3, Error: "lost"})
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var back Report
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &back); err != nil {
		t.Fatal(err)
	}
	if back.Runs != 2 || back.Acknowledged != 15 || len(back.Failures) != 1 || !strings.Contains(out.String(), "-seed 7 -runs 2") {
		t.Errorf("%+v\n%s", back, out.String())
	}
}
