package main

import (
	"path/filepath"
	"testing"

	"marquee/internal/testkit"
)

// TestOnKafkaAndPostgres is the main job on real input with the engines of larger installations: the published MovieLens
// 100k through Apache Kafka into the warehouse and the lake, a night, and answers, with the books in PostgreSQL.
func TestOnKafkaAndPostgres(t *testing.T) {
	t.Parallel()
	data, kafka, postgres := testkit.DataDir(t, "ml-100k"), testkit.NeedKafka(t), testkit.NeedPostgres(t)
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	run := func(args ...string) *finished {
		return in.run(append([]string{"--broker", kafka, "--database", postgres}, args...)...)
	}
	const ratings = 100_000
	for range 2 {
		var i imported
		run("import", "movielens", data, "--json").ok().json(&i)
		if i.RowsRead != ratings || i.EventsPublished+i.EventsAlreadyImported != ratings || i.Rejected != 0 {
			t.Errorf("imported: %+v", i)
		}
		i.Events.are(t, ratings)
	}
	var n night
	run("nightly", "--as-of", "max-event", "--json").ok().json(&n)
	if !n.Promoted || n.Metrics["als"]["ndcg@10"] <= n.Metrics["popular"]["ndcg@10"] {
		t.Errorf("the night: %+v", n)
	}
	var r answerJSON
	run("recommend", "--profile", "ml100k:1", "--count", "5", "--json").ok().json(&r)
	if len(r.Titles) != 5 || r.Titles[0].Source != "als" || r.Titles[0].Name == "" || r.Bundle != n.Bundle || len(r.Degraded) > 0 {
		t.Errorf("recommended: %+v", r)
	}

	// The same as a service, which takes the next play in and knows it at once.
	s := in.serve("--broker", kafka, "--database", postgres)
	recorded := s.record(event("ml100k:1", r.Titles[0].TitleID, "EVENT_TYPE_PLAY_END"))
	for _, id := range s.recommend("ml100k:1", `,"minPosition":`+string(recorded.Positions)).ids() {
		if id == r.Titles[0].TitleID {
			t.Errorf("%s was just played and is recommended", id)
		}
	}
	var counts eventCounts
	run("events", "count", "--wait", patience.String(), "--json").ok().json(&counts)
	counts.are(t, ratings+1)
	s.terminate()
}
