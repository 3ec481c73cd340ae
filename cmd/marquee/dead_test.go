package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"marquee/ingest/broker"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/datadir"
	"marquee/internal/testkit"
)

// TestDeadLettersAndTail sends what is no watch event past the service, straight to its log, and looks after it with commands
// beside the service.
func TestDeadLettersAndTail(t *testing.T) {
	in := newInstall(t, filepath.Join(t.TempDir(), "data"))
	s := in.serve("--modules", "ingest")
	in.run("events", "dead", "list").ok("no dead letters")

	const fixable = `{"eventId":"0190a5c2-7b6e-7c3a-8f00-0000000000aa","schemaVersion":1,"profileId":"p9","titleId":"t1",` +
		`"type":"EVENT_TYPE_LIKE","occurredAt":"1700000000000000"}`
	produce(t, in,
		record("p9", "application/json", strings.Replace(fixable, "EVENT_TYPE_LIKE", "EVENT_TYPE_ADORE", 1)),
		record("p8", "", "\xff\xff\xff garbage"), record("p7", "text/plain", "hello"))

	// What was refused is listed with its reason, and shown whole.
	letters := map[string]deadLetter{}
	s.until("three dead letters", func() bool {
		clear(letters)
		d := json.NewDecoder(strings.NewReader(in.run("events", "dead", "list", "--json").ok().stdout))
		for d.More() {
			var l deadLetter
			if err := d.Decode(&l); err != nil {
				t.Fatal(err)
			}
			letters[l.ProfileID] = l
		}
		return len(letters) == 3
	})
	for profile, reason := range map[string]string{"p9": "type must be one of", "p8": "not_proto", "p7": "content_type"} {
		if l := letters[profile]; !strings.Contains(l.Reason, reason) {
			t.Errorf("%s was refused for %q, which does not say %s", profile, l.Reason, reason)
		}
	}
	in.run("events", "dead", "list", "--limit", "1").ok("and more; --limit 0 lists all")
	in.run("events", "dead", "show", letters["p7"].ID).ok(`"text": "hello"`)
	in.run("events", "dead", "show", letters["p8"].ID).ok(`"value": "`)

	// What is still no event stays; corrected, it is one; what is given up is listed no more.
	in.run("events", "dead", "replay", "--all").fails(exitFailed, "3 of 3 dead letters are still no watch events")
	corrected := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(corrected, []byte(fixable), 0o644); err != nil {
		t.Fatal(err)
	}
	in.run("events", "dead", "replay", letters["p9"].ID, "--event", corrected).ok("1 sent again, 0 refused again")
	in.run("events", "dead", "replay", letters["p9"].ID, "--event", corrected).fails(exitFailed, "no such dead letter: "+letters["p9"].ID)
	in.run("events", "dead", "drop", letters["p7"].ID).ok("1 dropped")
	in.run("events", "dead", "list").ok(letters["p8"].ID)
	in.run("events", "dead", "drop", "--all").ok("1 dropped")
	in.run("events", "dead", "list").ok("no dead letters")
	in.run("events", "count", "--wait", "1m").ok("warehouse 1, lake 1 ")
	in.run("events", "dead", "drop").fails(exitUsage, "--all")
	in.run("events", "dead", "show", "seven").fails(exitUsage, "partition-offset")

	tailed(t, in, s)
}

// tailed follows one profile's events, from before and as they come.
func tailed(t *testing.T, in *install, s *server) {
	in.run("events", "tail", "--profile", "p9", "--since", "1h", "--count", "1").ok(`p9 +like +t1`)
	p := in.start("events", "tail", "--profile", "p5", "--json")
	s.until("an event in the tail", func() bool {
		s.call(http.StatusOK, "/marquee.ingest.v1.IngestService/RecordEvents", batch(event("p5", "t5", "EVENT_TYPE_PLAY_END"), event("p6", "t6", "EVENT_TYPE_LIKE")), nil)
		return strings.Contains(p.stdout.String(), `"p5"`)
	})
	p.signal(syscall.SIGINT)
	if out := p.wait().ok(); strings.Contains(out.stdout, `"p6"`) {
		t.Errorf("another profile's event: %v", out)
	}
	in.run("events", "tail", "--since=-1h").fails(exitUsage, "must not be negative")
}

func record(profile, contentType, value string) *kgo.Record {
	r := &kgo.Record{Topic: ingestv1.TopicWatchEvents, Key: []byte(profile), Value: []byte(value)}
	if contentType != "" {
		r.Headers = []kgo.RecordHeader{{Key: ingestv1.HeaderContentType, Value: []byte(contentType)}}
	}
	return r
}

// produce writes records to the log that the install's service embeds.
func produce(t *testing.T, in *install, records ...*kgo.Record) {
	t.Helper()
	owner, ok, err := datadir.Peek(in.dir)
	if err != nil || !ok {
		t.Fatalf("no service has the data folder: %v", err)
	}
	cfg := broker.DefaultConfig()
	cfg.URL = owner.Engines["broker"]
	b, err := broker.Open(t.Context(), cfg, in.dir, testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	client, err := b.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
