package mapping_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	catalogv1 "marquee/catalog/v1"
	"marquee/ingest/mapping"
	"marquee/ingest/tabular"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
	"marquee/internal/testkit"
)

// latest is the clock of these tests: 2026-11-23.
var latest = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).UnixMicro()

// table opens a table of that content.
func table(t testing.TB, name, content string, m mapping.Mapping) *tabular.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return openTable(t, path, m)
}

func openTable(t testing.TB, path string, m mapping.Mapping) *tabular.File {
	t.Helper()
	f, err := tabular.Open(path, nil, m.Format.Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// eventsOf maps all rows and returns the events and what was rejected, as reason and field.
func eventsOf(t testing.TB, m mapping.Mapping, f *tabular.File) ([]*ingestv1.WatchEvent, []string, int64) {
	t.Helper()
	p, err := mapping.CompileEvents(m, "ns", "file:ns", latest, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Choose(p.Columns()); err != nil {
		t.Fatal(err)
	}
	var b mapping.Batch
	b.Reset(latest)
	var rejected []string
	var row tabular.Row
	for {
		err := f.Next(&row)
		if errors.Is(err, io.EOF) {
			return b.Events, rejected, b.Skipped
		}
		if err != nil {
			t.Fatal(err)
		}
		if r := p.Row(&row, &b); r != nil {
			rejected = append(rejected, string(r.Reason)+" "+r.Field)
		}
	}
}

func events(maps ...string) mapping.Mapping {
	m := mapping.Mapping{Kind: mapping.Events, Map: map[string]string{}}
	for i := 0; i < len(maps); i += 2 {
		m.Map[maps[i]] = maps[i+1]
	}
	return m
}

func TestEvents(t *testing.T) {
	m := events("type", "=play_end", "profile_id", "user", "title_id", "movie", "occurred_at", "at|time:unix_ms", "watched_ms", "hours | unit:h",
		"duration_ms", "minutes|unit:min", "device_class", `dev|words:TV=tv,\|=phone,*=`, "country", "cc|upper", "autoplay", "auto", "row", "r")
	csv := "user,movie,at,hours,minutes,dev,cc,auto,r\n7,m1,1577836800123,1.5,120,TV,se,no,3\n8,m2,1577836800123,0,,|,,,\n"
	got, rejected, _ := eventsOf(t, m, table(t, "x.csv", csv, m))
	if len(rejected) > 0 || len(got) != 2 {
		t.Fatalf("%d events, rejected %q", len(got), rejected)
	}
	row := uint32(3)
	want := &ingestv1.WatchEvent{
		EventId: got[0].EventId, SchemaVersion: 1, ProfileId: "ns:7", TitleId: "ns:m1", PlayId: got[0].EventId, Type: ingestv1.EventType_EVENT_TYPE_PLAY_END,
		OccurredAt: 1577836800123000, ReceivedAt: latest, WatchedMs: 5400000, DurationMs: 7200000, DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TV,
		Country: "SE", Row: &row, ImportId: "file:ns",
	}
	if diff := cmp.Diff(want, got[0], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if got[1].DeviceClass != ingestv1.DeviceClass_DEVICE_CLASS_PHONE || got[1].DurationMs != 0 || got[1].Row != nil || got[1].Country != "" {
		t.Errorf("the second event is %v", got[1])
	}
}

// TestTheSameRowIsTheSameEvent and another row another.
func TestTheSameRowIsTheSameEvent(t *testing.T) {
	m := events("type", "=play_end", "profile_id", "u", "title_id", "i", "occurred_at", "t|time:unix", "watched_ms", "w")
	csv := "u,i,t,w\n1,1,1577836800,5\n1,1,1577836800,5\n1,1,1577836800,6\n11,,1577836800,5\n"
	got, rejected, _ := eventsOf(t, m, table(t, "x.csv", csv, m))
	if diff := cmp.Diff([]string{"missing title_id"}, rejected); diff != "" {
		t.Error(diff)
	}
	if got[0].EventId != got[1].EventId || got[1].EventId == got[2].EventId {
		t.Errorf("ids %s, %s, %s", got[0].EventId, got[1].EventId, got[2].EventId)
	}
	first := got[0].EventId
	if !watchevent.IsID(first) {
		t.Errorf("%q is no id", first)
	}
	// What it was is what it will be: ids are stored in warehouses.
	if want := "016f5e66-e800-"; !strings.HasPrefix(first, want) {
		t.Errorf("id %s, want it to begin with %s", first, want)
	}
	m.Map["event_id"] = "@row"
	got, _, _ = eventsOf(t, m, table(t, "x.csv", csv, m))
	if got[0].EventId == got[1].EventId || got[0].EventId == first {
		t.Errorf("by row: ids %s, %s", got[0].EventId, got[1].EventId)
	}
}

func TestOwnIDsAreKept(t *testing.T) {
	m := events("type", "kind", "profile_id", "u | asis", "title_id", "i", "occurred_at", "t", "event_id", "id", "play_id", "p")
	const own = "01930d5e-5c00-7000-8000-000000000000"
	jsonl := `{"id":"` + own + `","u":"a:1","i":2,"t":"2024-11-08T10:00:00+01:00","kind":"PLAY_START","p":"x"}` + "\n" +
		`{"id":"mine","u":"a:1","i":2,"t":"2024-11-08T10:00:00Z","kind":"like"}` + "\n" + `{"u":"a:1","i":2,"t":"2024-11-08T10:00:00Z","kind":"like"}`
	got, rejected, _ := eventsOf(t, m, table(t, "x.jsonl", jsonl, m))
	if diff := cmp.Diff([]string{"missing event_id"}, rejected); diff != "" {
		t.Error(diff)
	}
	if got[0].EventId != own || got[0].PlayId != "ns:x" || got[0].ProfileId != "a:1" || got[0].OccurredAt != time.Date(2024, 11, 8, 9, 0, 0, 0, time.UTC).UnixMicro() {
		t.Errorf("got %v", got[0])
	}
	if !watchevent.IsID(got[1].EventId) || got[1].EventId == own {
		t.Errorf("got %v", got[1])
	}
}

func TestRejections(t *testing.T) {
	m := events("type", "kind", "profile_id", "u", "title_id", "i", "occurred_at", "t|time:unix", "watched_ms", "w|unit:s", "duration_ms", "d|unit:s", "country", "c",
		"autoplay", "a", "rank", "r", "device_class", "dev")
	rows := map[string]string{
		"play_end,,1,1577836800,1,2,SE,1,,":                                "missing profile_id",
		"play_end,1,1,,1,2,SE,1,,":                                         "missing occurred_at",
		"play_end,1,,1577836800,1,2,SE,1,,":                                "missing title_id",
		",1,1,1577836800,1,2,SE,1,,":                                       "missing type",
		"watch,1,1,1577836800,1,2,SE,1,,":                                  "word type",
		"unspecified,1,1,1577836800,1,2,SE,1,,":                            "word type",
		"play_end,1,1,yesterday,1,2,SE,1,,":                                "time occurred_at",
		"play_end,1,1,1577836800000,1,2,SE,1,,":                            "time occurred_at",
		"play_end,1,1,-5,1,2,SE,1,,":                                       "time occurred_at",
		"play_end,1,1,9999999999999999999999,1,2,SE,1,,":                   "time occurred_at",
		"play_end,1,1,1577836800,-1,2,SE,1,,":                              "range watched_ms",
		"play_end,1,1,1577836800,604801,2,SE,1,,":                          "range watched_ms",
		"play_end,1,1,1577836800,NaN,2,SE,1,,":                             "number watched_ms",
		"play_end,1,1,1577836800,1e400,2,SE,1,,":                           "number watched_ms",
		"play_end,1,1,1577836800,an hour,2,SE,1,,":                         "number watched_ms",
		"play_end,1,1,1577836800,1,2,Sweden,1,,":                           "invalid country",
		"play_end,1,1,1577836800,1,2,SE,perhaps,,":                         "word autoplay",
		"play_end,1,1,1577836800,1,2,SE,1,1.5,":                            "number rank",
		"play_end,1,1,1577836800,1,2,SE,1,-1,":                             "range rank",
		"play_end,1,1,1577836800,1,2,SE,1,20000,":                          "invalid rank",
		"play_end,1,1,1577836800,1,2,SE,1,,fridge":                         "word device_class",
		"play_end," + strings.Repeat("x", 62) + ",1,1577836800,1,2,SE,1,,": "id profile_id",
	}
	for row, want := range rows {
		_, rejected, _ := eventsOf(t, m, table(t, "x.csv", "kind,u,i,t,w,d,c,a,r,dev\n"+row+"\n", m))
		if diff := cmp.Diff([]string{want}, rejected); diff != "" {
			t.Errorf("%s: %s", row, diff)
		}
	}
}

func TestRatiosFiltersAndMoreEventsOfARow(t *testing.T) {
	m := events("type", "=play_end", "profile_id", "u", "title_id", "i", "occurred_at", "t|time:%Y%m%d", "watched_ms", "ratio | cap:2 | unit:ratio", "duration_ms", "d")
	m.Where = map[string]string{"keep": "1"}
	m.Nulls = []string{"NA"}
	m.Time.Zone = "Europe/Stockholm"
	m.Also = []mapping.Also{{Where: map[string]string{"liked": "1"}, Map: map[string]string{"type": "=like"}}}
	csv := "u,i,t,ratio,d,keep,liked\n1,1,20200101,0.5,1000,1,1\n1,1,20200101,5,1000,1,0\n1,1,20200101,1,1000,0,1\n1,1,20200101,1,NA,1,1\n"
	got, rejected, skipped := eventsOf(t, m, table(t, "x.csv", csv, m))
	if diff := cmp.Diff([]string{"missing watched_ms"}, rejected); diff != "" || skipped != 1 {
		t.Error(skipped, diff)
	}
	if len(got) != 3 {
		t.Fatalf("%d events", len(got))
	}
	if got[0].WatchedMs != 500 || got[1].Type != ingestv1.EventType_EVENT_TYPE_LIKE || got[2].WatchedMs != 2000 || got[0].EventId == got[1].EventId {
		t.Errorf("got %v", got)
	}
	if at := time.UnixMicro(got[0].OccurredAt).UTC(); at.Hour() != 23 || at.Day() != 31 {
		t.Errorf("midnight in Stockholm is %s", at)
	}
}

func TestMomentsAndTheirFormats(t *testing.T) {
	want := time.Date(2021, 9, 5, 14, 3, 9, 0, time.UTC).UnixMicro()
	day := time.Date(2021, 9, 5, 0, 0, 0, 0, time.UTC).UnixMicro()
	for _, test := range []struct {
		format, text string
		want         int64
	}{
		{"unix", "1630850589", want}, {"unix", "1630850589.0", want}, {"unix_ms", "1630850589000", want}, {"unix_us", "1630850589000000", want},
		{"unix_ns", "1630850589000000000", want}, {"rfc3339", "2021-09-05T16:03:09+02:00", want}, {"", "2021-09-05T14:03:09.000Z", want},
		{"2006-01-02 15:04:05", "2021-09-05 14:03:09", want}, {"%d/%m/%Y %H:%M:%S", "05/09/2021 14:03:09", want}, {"%d/%m/%Y %H:%M:%S", "5/9/2021 14:03:09", want},
		{"%b %d, %Y %I:%M:%S %p", "Sep 5, 2021 2:03:09 PM", want}, {"%Y%m%d%H%M%S", "20210905140309", want}, {"%F", "2021-09-05", day},
		{"January 2, 2006 or 2006-01-02", " September 5, 2021", day}, {"January 2, 2006 or 2006-01-02", "2021-09-05", day},
	} {
		m := events("type", "=like", "profile_id", "u", "title_id", "u", "occurred_at", "t")
		m.Time.Format = test.format
		got, rejected, _ := eventsOf(t, m, table(t, "x.csv", "u,t\n1,\""+test.text+"\"\n", m))
		if len(rejected) > 0 || got[0].OccurredAt != test.want {
			t.Errorf("%q as %q: %v %v", test.text, test.format, got, rejected)
		}
	}
}

func TestMistakesInMappings(t *testing.T) {
	const csv = "user_id,movieId,timestamp,genre|s\n1,2,3,4\n"
	full := func(more ...string) mapping.Mapping {
		return events(append([]string{"type", "=like", "profile_id", "user_id", "title_id", "movieId", "occurred_at", "timestamp"}, more...)...)
	}
	zone := full()
	zone.Time.Zone = "Stockholm"
	where := full()
	where.Where = map[string]string{"usr_id": "1"}
	for want, m := range map[string]mapping.Mapping{
		"profile_id=user_id":             events("type", "=like", "title_id", "movieId", "occurred_at", "timestamp"),
		"title_id=movieId":               events("type", "=like", "profile_id", "user_id", "occurred_at", "timestamp"),
		"occurred_at=timestamp":          events("type", "=like", "profile_id", "user_id", "title_id", "movieId"),
		"type==play_end":                 events("profile_id", "user_id", "title_id", "movieId", "occurred_at", "timestamp"),
		`nearest is "user_id"`:           full("session_id", "userid"),
		`nearest is "watched_ms"`:        full("watched_m", "timestamp"),
		`no step "unti" (nearest is`:     full("watched_ms", "timestamp|unti:s"),
		"unit is ms, s":                  full("watched_ms", "timestamp|unit:days"),
		"needs duration_ms":              full("watched_ms", "timestamp|unit:ratio"),
		"regular expression":             full("session_id", "timestamp|match:("),
		"pairs like":                     full("session_id", "timestamp|words:a"),
		"needs something":                full("session_id", "timestamp|split"),
		"scale needs a number":           full("watched_ms", "timestamp|scale:x"),
		"cap needs a number":             full("watched_ms", "timestamp|cap:x"),
		"without a value":                full("session_id", "="),
		"starts with a column":           full("session_id", "|trim"),
		"ends within a conversion":       full("session_id", "timestamp|time:%"),
		"which is not known":             full("session_id", "timestamp|time:%Q"),
		"a time format is":               full("session_id", "timestamp|time:yesterday"),
		"Europe/Stockholm":               zone,
		`no column "usr_id" (nearest is`: where,
	} {
		_, err := mapping.CompileEvents(m, "ns", "x", latest, table(t, "x.csv", csv, m))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if _, err := mapping.CompileEvents(full("session_id", `"genre\|s"`), "ns", "x", latest, table(t, "x.csv", csv, full())); err != nil {
		t.Errorf("a quoted column: %v", err)
	}
}

func TestMappingsAsText(t *testing.T) {
	var m mapping.Mapping
	for _, text := range []string{"type==play_end", "profile_id=a|trim", "title_id=b", "title_id="} {
		if err := m.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Filter("a=b=c"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"type": "=play_end", "profile_id": "a|trim"}, m.Map); diff != "" || m.Where["a"] != "b=c" {
		t.Error(diff, m.Where)
	}
	for _, text := range []string{"", "x", "=y"} {
		if err := m.Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if err := m.Filter("x"); err == nil {
		t.Error("a filter without a value was taken")
	}
	m.Kind = mapping.Events
	text, err := m.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := mapping.Parse(text)
	if diff := cmp.Diff(m, again); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for text, want := range map[string]string{
		"": "empty", "kind: people": "kind is", "kind: events\nmaps: {}": "maps", "kind: titles\nalso: [{where: {a: b}}]": "one title", "[]": "mapping",
	} {
		if _, err := mapping.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// titlesOf maps all rows.
func titlesOf(t testing.TB, m mapping.Mapping, f *tabular.File) (titles []*catalogv1.Title, rejected []string) {
	t.Helper()
	p, err := mapping.CompileTitles(m, m.Namespace, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Choose(p.Columns()); err != nil {
		t.Fatal(err)
	}
	var row tabular.Row
	for {
		err := f.Next(&row)
		if errors.Is(err, io.EOF) {
			return titles, rejected
		}
		if err != nil {
			t.Fatal(err)
		}
		title, r := p.Row(&row)
		if r != nil {
			rejected = append(rejected, string(r.Reason)+" "+r.Field)
			continue
		}
		titles = append(titles, title)
	}
}

func TestTitles(t *testing.T) {
	m := mapping.Mapping{Kind: mapping.Titles, Namespace: "x", Map: map[string]string{
		"title_id": "id", "kind": "=film", "name": "name or id", "genres": `tags|split:\|`, "maturity_age": "age", "runtime_ms": "min|unit:min", "countries": "where",
		"available_until": "until|time:2006", "writers": "by", "added_at": "added|time:2006", "year": "year",
	}}
	csv := "id,name,tags,age,min,where,until,by,added,year\n1, A ,Drama| Crime||,13,90,\"SE,NO\",2030,Me,1950,1950\n2,,,,,,,,,\n3,C,,,,Sweden,,,,\n4,D,,PG,,,,,,\n,E,,,,,,,,\n5,F,,,-1,,,,,\n6,G,,,,,,,,4000\n"
	titles, rejected := titlesOf(t, m, table(t, "x.csv", csv, m))
	if diff := cmp.Diff([]string{"invalid availability[0].countries[0]", "number maturity_age", "missing title_id", "range runtime_ms", "range year"}, rejected); diff != "" {
		t.Error(diff)
	}
	age := uint32(13)
	want := []*catalogv1.Title{
		{
			TitleId: "x:1", Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Name: "A", Genres: []string{"Drama", "Crime"}, MaturityAge: &age, RuntimeMs: 5400000, AddedAt: 1, Year: 1950,
			Availability: []*catalogv1.Window{{Countries: []string{"SE", "NO"}, Until: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()}},
			People:       []*catalogv1.Person{{Name: "Me", Role: catalogv1.PersonRole_PERSON_ROLE_WRITER}},
		},
		{TitleId: "x:2", Kind: catalogv1.TitleKind_TITLE_KIND_FILM, Name: "2", Availability: []*catalogv1.Window{{}}},
	}
	if diff := cmp.Diff(want, titles, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// TestNetflixTitles reads every title of the real file.
func TestNetflixTitles(t *testing.T) {
	m := preset(t, "netflix-titles")
	titles, rejected := titlesOf(t, m, openTable(t, filepath.Join(testkit.DataDir(t, "netflix-titles"), "netflix_titles.csv"), m))
	var films, added, rated, timed int
	for _, title := range titles {
		if title.Kind == catalogv1.TitleKind_TITLE_KIND_FILM {
			films++
		}
		if title.AddedAt > 0 {
			added++
		}
		if title.MaturityAge != nil {
			rated++
		}
		if title.RuntimeMs > 0 {
			timed++
		}
	}
	if len(rejected) > 0 || len(titles) != 8807 || films != 6131 {
		t.Errorf("%d titles, %d films, rejected %q", len(titles), films, rejected)
	}
	if added != 8709 || rated != 8717 || timed != 6131 {
		t.Errorf("%d with the day they were added, %d rated, %d with a runtime", added, rated, timed)
	}
	if first := titles[0]; first.TitleId != "netflix:s1" || first.Name != "Dick Johnson Is Dead" || first.RuntimeMs != 90*60_000 || first.GetMaturityAge() != 13 ||
		first.Year != 2020 || first.People[0].Role != catalogv1.PersonRole_PERSON_ROLE_DIRECTOR {
		t.Errorf("the first is %v", first)
	}
}

func preset(t testing.TB, name string) mapping.Mapping {
	t.Helper()
	text, err := mapping.PresetText(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapping.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if m.About == "" || m.Namespace == "" {
		t.Errorf("preset %s has no text or namespace", name)
	}
	return m
}

// TestPresets maps two rows as each of the published files has them.
func TestPresets(t *testing.T) {
	const (
		kuairec  = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273397\n0,9598,13665,10984,2020-07-05 00:13:41.297,20200705,,1.244082\n"
		captions = "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name\n0,UNKNOWN,精神小伙路难走,[],8,颜值\n1,封面,,[],27,高新数码\n"
		kuairand = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n" +
			"0,2525,20220408,1800,1649413059216,1,1,0,0,0,0,1,164000,181000,0,0,0,0,1\n0,2526,20220408,1800,1649413059217,0,0,0,0,0,1,0,0,181000,0,0,0,0,1\n"
		steam = "151603712,The Elder Scrolls V Skyrim,purchase,1.0,0\n151603712,The Elder Scrolls V Skyrim,play,273.0,0\n151603712,\"Fallout 4\",play,5.0,0\n"
	)
	for name, test := range map[string]struct {
		content  string
		want     []string
		rejected int
	}{
		"kuairec":        {kuairec, []string{"type:EVENT_TYPE_PLAY_END", "watched_ms:13838", "duration_ms:10867", "occurred_at:1593878903438000"}, 1},
		"kuairec-titles": {captions, []string{"精神小伙路难走", "封面", "高新数码"}, 0},
		"kuairand":       {kuairand, []string{"watched_ms:164000", "EVENT_TYPE_LIKE", "EVENT_TYPE_DISLIKE", "tab-1"}, 0},
		"steam":          {steam, []string{"watched_ms:604800000", "watched_ms:18000000", "duration_ms:72000000"}, 0},
		"steam-titles":   {steam, []string{"Fallout 4"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := preset(t, name)
			f := table(t, "x.csv", test.content, m)
			var all []proto.Message
			var rejected []string
			if m.Kind == mapping.Titles {
				titles, r := titlesOf(t, m, f)
				rejected = r
				for _, title := range titles {
					all = append(all, title)
				}
			} else {
				made, r, _ := eventsOf(t, m, f)
				rejected = r
				for _, e := range made {
					all = append(all, e)
				}
			}
			var text strings.Builder
			for _, one := range all {
				b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(one)
				if err != nil {
					t.Fatal(err)
				}
				text.WriteString(strings.NewReplacer(`"`, "", ": ", ":").Replace(string(b)))
			}
			for _, want := range test.want {
				if !strings.Contains(text.String(), want) {
					t.Errorf("no %s in %s", want, text.String())
				}
			}
			if len(rejected) != test.rejected {
				t.Errorf("rejected %q", rejected)
			}
		})
	}
	if _, err := mapping.Preset("netflix-title", mapping.Titles); err == nil || !strings.Contains(err.Error(), "netflix-titles") {
		t.Errorf("a preset there is not: %v", err)
	}
	if _, err := mapping.Preset("steam", mapping.Titles); err == nil || !strings.Contains(err.Error(), "import events") {
		t.Errorf("a preset for something else: %v", err)
	}
	names, err := mapping.PresetNames()
	if err != nil || len(names) < 6 {
		t.Errorf("presets %q, %v", names, err)
	}
}

// TestABatchIsUsedAgain makes events in the memory of others.
func TestABatchIsUsedAgain(t *testing.T) {
	m := events("type", "=slate_seen", "profile_id", "u", "occurred_at", "=2020-01-01T00:00:00Z", "seen_title_ids", "s")
	f := table(t, "x.csv", "u,s\n1,\"a, b,c\"\n2,d\n", m)
	p, err := mapping.CompileEvents(m, "", "x", latest, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Choose(p.Columns()); err != nil {
		t.Fatal(err)
	}
	var b mapping.Batch
	var row tabular.Row
	for _, want := range []string{"1 a b c", "2 d"} {
		b.Reset(latest)
		if err := f.Next(&row); err != nil {
			t.Fatal(err)
		}
		if r := p.Row(&row, &b); r != nil {
			t.Fatal(r)
		}
		if got := b.Events[0].ProfileId + " " + strings.Join(b.Events[0].SeenTitleIds, " "); len(b.Events) != 1 || got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzEvents maps whatever rows: what comes out is valid, and what does not is rejected.
func FuzzEvents(f *testing.F) {
	f.Add("1,2,1577836800,0.5,90,SE", "t|time:unix", "w|unit:h")
	f.Add("1,2,2020-01-01,-1,x,", "t|time:%Y-%m-%d or unix_ns", "w|scale:1e300|cap:5|unit:ratio")
	f.Add("\"a\",b\x00,,,,", "@row|time:unix", "w|match:(\\d+)|words:1=2,*=|default:7")
	f.Add("1,2,9223372036854775807,NaN,1e308,se", "t|time:unix_us", "w|hash|prefix:x")
	f.Fuzz(func(t *testing.T, row, at, watched string) {
		m := events("type", "=play_end", "profile_id", "u", "title_id", "i", "occurred_at", at, "watched_ms", watched, "duration_ms", "d|unit:min", "country", "c|upper")
		path := filepath.Join(t.TempDir(), "x.csv")
		if err := os.WriteFile(path, []byte("u,i,t,w,d,c\n"+row+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := tabular.Open(path, nil, tabular.Options{})
		if err != nil {
			return // zero bytes
		}
		defer func() { _ = file.Close() }()
		p, err := mapping.CompileEvents(m, "ns", "file:ns", latest, file)
		if err != nil {
			return
		}
		if err := file.Choose(p.Columns()); err != nil {
			t.Fatal(err)
		}
		var b mapping.Batch
		b.Reset(latest)
		var r tabular.Row
		for {
			if err := file.Next(&r); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				continue
			}
			before := len(b.Events)
			rejected := p.Row(&r, &b)
			if rejected != nil && (len(b.Events) != before || rejected.Reason == "" || rejected.Detail == "") {
				t.Fatalf("rejected with %v, %d events", rejected, len(b.Events))
			}
			for _, e := range b.Events[before:] {
				if v := watchevent.Validate(e); v != nil {
					t.Fatalf("%v: %s", e, watchevent.Describe(v))
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	names, err := mapping.PresetNames()
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := mapping.PresetText(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := mapping.Parse(text)
		if err != nil {
			return
		}
		if _, err := m.YAML(); err != nil {
			t.Fatal(err)
		}
	})
}
