package watchevent

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	ingestv1 "marquee/ingest/v1"
)

func goodEvent() *ingestv1.WatchEvent {
	return &ingestv1.WatchEvent{
		EventId: "01930d5e-5c00-7000-8000-00000000abcd", SchemaVersion: 1, ProfileId: "p1", TitleId: "t1", PlayId: "play1",
		Type: ingestv1.EventType_EVENT_TYPE_PROGRESS, OccurredAt: 1_790_000_000_000_000, SessionId: "s1",
		DeviceClass: ingestv1.DeviceClass_DEVICE_CLASS_TV, Country: "NO", Surface: "home", PositionMs: 60_000,
		WatchedMs: 60_000, DurationMs: 6_000_000, RequestId: "r1", Row: proto.Uint32(0), Rank: proto.Uint32(3),
	}
}

func TestValidateNamesTheField(t *testing.T) {
	long := strings.Repeat("x", 65)
	tests := []struct {
		name   string
		break_ func(*ingestv1.WatchEvent)
		fields []string
		says   string
	}{
		{"good", func(*ingestv1.WatchEvent) {}, nil, ""},
		{"no event_id", func(e *ingestv1.WatchEvent) { e.EventId = "" }, []string{"event_id"}, "version 7"},
		{"a v4 event_id", func(e *ingestv1.WatchEvent) { e.EventId = "01930d5e-5c00-4000-8000-00000000abcd" }, []string{"event_id"}, "version 7"},
		{"no version", func(e *ingestv1.WatchEvent) { e.SchemaVersion = 0 }, []string{"schema_version"}, "1 today"},
		{"no profile", func(e *ingestv1.WatchEvent) { e.ProfileId = "" }, []string{"profile_id"}, "1 to 64 bytes"},
		{"long title", func(e *ingestv1.WatchEvent) { e.TitleId = long }, []string{"title_id"}, "at most 64 bytes, has 65"},
		{"no title", func(e *ingestv1.WatchEvent) { e.TitleId = "" }, []string{"title_id"}, "required"},
		{"no play", func(e *ingestv1.WatchEvent) { e.PlayId = "" }, []string{"play_id"}, "required when type is play_start"},
		{"no type", func(e *ingestv1.WatchEvent) { e.Type = 0 }, []string{"type"}, "EventType"},
		{"empty search", func(e *ingestv1.WatchEvent) { e.Type, e.TitleId = 10, "" }, []string{"query"}, "type is search"},
		{"empty slate", func(e *ingestv1.WatchEvent) { e.Type = 11 }, []string{"seen_title_ids"}, "slate_seen"},
		{"nanoseconds", func(e *ingestv1.WatchEvent) { e.OccurredAt *= 1000 }, []string{"occurred_at"}, "look like nanoseconds"},
		{"lower-case country", func(e *ingestv1.WatchEvent) { e.Country = "no" }, []string{"country"}, "upper-case"},
		{"negative watch", func(e *ingestv1.WatchEvent) { e.WatchedMs = -1 }, []string{"watched_ms"}, "seven days"},
		{"row", func(e *ingestv1.WatchEvent) { e.Row = proto.Uint32(1000) }, []string{"row"}, "below 1000"},
		{"seen", func(e *ingestv1.WatchEvent) { e.SeenTitleIds = []string{"a", "", long} },
			[]string{"seen_title_ids[1]", "seen_title_ids[2]"}, "1 to 64 bytes"},
		{"two at once", func(e *ingestv1.WatchEvent) { e.ProfileId, e.Country = "", "x" }, []string{"profile_id", "country"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := goodEvent()
			tt.break_(e)
			got := Validate(e)
			if fields := fieldsOf(got); !slices.Equal(fields, tt.fields) {
				t.Errorf("fields %q, want %q", fields, tt.fields)
			}
			if !strings.Contains(Describe(got), tt.says) {
				t.Errorf("%q does not say %q", Describe(got), tt.says)
			}
		})
	}
}

// TestSameVerdictAsProtovalidate holds the hand-written rules to the contract's, on events broken at random.
func TestSameVerdictAsProtovalidate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	const runs = 10_000
	for range runs {
		e := randomEvent(r)
		mine := Validate(e)
		compareVerdicts(t, validator, e, mine)
		if mine == nil {
			good++
		}
	}
	if good < runs/20 || good > runs*19/20 {
		t.Errorf("%d of %d random events were valid: the test does not see both sides", good, runs)
	}
}

func FuzzSameVerdictAsProtovalidate(f *testing.F) {
	validator, err := protovalidate.New()
	if err != nil {
		f.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		data, err := proto.Marshal(randomEvent(r))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := new(ingestv1.WatchEvent)
		if proto.Unmarshal(data, e) != nil {
			return
		}
		compareVerdicts(t, validator, e, Validate(e))
	})
}

func compareVerdicts(t *testing.T, validator protovalidate.Validator, e *ingestv1.WatchEvent, mine []*ingestv1.FieldViolation) {
	t.Helper()
	theirs := protovalidateFields(t, validator.Validate(e))
	if got := slices.Compact(slices.Sorted(slices.Values(fieldsOf(mine)))); !slices.Equal(got, theirs) {
		t.Errorf("violated fields %q, protovalidate says %q, of %.2000s", got, theirs, e.String())
	}
}

// protovalidateFields returns the distinct fields protovalidate found wrong, sorted. A rule on the whole message is
// named after the field it is about.
func protovalidateFields(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	var fields []string
	for _, v := range invalid.Violations {
		field := protovalidate.FieldPathString(v.Proto.GetField())
		if field == "" {
			field = strings.TrimPrefix(v.Proto.GetRuleId(), "watch_event.")
		}
		// Past the limit only the limit is reported.
		if n, ok := strings.CutPrefix(field, "seen_title_ids["); ok {
			if i, err := strconv.Atoi(strings.TrimSuffix(n, "]")); err != nil || i >= MaxSeenTitles {
				continue
			}
		}
		fields = append(fields, field)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func fieldsOf(violations []*ingestv1.FieldViolation) []string {
	var fields []string
	for _, v := range violations {
		fields = append(fields, v.Field)
	}
	return fields
}

// randomEvent is a good event with a few fields set to values on either side of a limit.
func randomEvent(r *rand.Rand) *ingestv1.WatchEvent {
	e := goodEvent()
	text := func(limit int) string {
		n := []int{0, 1, limit - 1, limit, limit + 1}[r.IntN(5)]
		if r.IntN(4) == 0 {
			return strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
		}
		return strings.Repeat("x", n)
	}
	number := func(values ...int64) int64 { return values[r.IntN(len(values))] }
	mutations := []func(){
		func() { e.EventId = mutate(r, goodEvent().EventId) },
		func() { e.SchemaVersion = uint32(number(0, 1, 1000, 1001, 1<<31)) },
		func() { e.ProfileId = text(64) },
		func() { e.TitleId = text(64) },
		func() { e.PlayableId = text(64) },
		func() { e.PlayId = text(64) },
		func() { e.Type = ingestv1.EventType(number(-1, 0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 99)) },
		func() { e.OccurredAt = number(-1, 0, 1, MaxTime-1, MaxTime, 1<<62) },
		func() { e.SessionId = text(64) },
		func() { e.DeviceClass = ingestv1.DeviceClass(number(-1, 0, 5, 6)) },
		func() { e.Country = []string{"", "NO", "no", "N", "NOR", "N1", "é", "NO\n", "\nNO"}[r.IntN(9)] },
		func() { e.Surface = text(64) },
		func() { e.PositionMs = number(-1, 0, MaxSpanMS, MaxSpanMS+1) },
		func() { e.WatchedMs = number(-1, 0, MaxSpanMS, MaxSpanMS+1) },
		func() { e.DurationMs = number(-1, 0, MaxSpanMS, MaxSpanMS+1) },
		func() { e.Query = text(512) },
		func() { e.RequestId = text(64) },
		func() { e.Row = proto.Uint32(uint32(number(0, 999, 1000))) },
		func() { e.Row = nil },
		func() { e.Rank = proto.Uint32(uint32(number(0, 9999, 10_000))) },
		func() { e.SeenTitleIds = nil },
		func() {
			for range number(1, 3, 200, 201) {
				e.SeenTitleIds = append(e.SeenTitleIds, "t")
			}
		},
		func() { e.SeenTitleIds = append(e.SeenTitleIds, text(64)) },
		func() { e.ReceivedAt, e.ImportId, e.ClockSkew = -1, text(64), -5 },
	}
	for range r.IntN(4) {
		mutations[r.IntN(len(mutations))]()
	}
	return e
}

// mutate changes one character, or the length.
func mutate(r *rand.Rand, s string) string {
	const alphabet = "0123456789abcdefABFGg-{ \n"
	b := []byte(s)
	switch r.IntN(4) {
	case 0:
		return s[:r.IntN(len(s))]
	case 1:
		return s + string(alphabet[r.IntN(len(alphabet))])
	default:
		b[r.IntN(len(b))] = alphabet[r.IntN(len(alphabet))]
		return string(b)
	}
}

func BenchmarkValidate(b *testing.B) {
	e := goodEvent()
	b.ReportAllocs()
	for b.Loop() {
		if Validate(e) != nil {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkProtovalidate(b *testing.B) {
	validator, err := protovalidate.New()
	if err != nil {
		b.Fatal(err)
	}
	e := goodEvent()
	b.ReportAllocs()
	for b.Loop() {
		if err := validator.Validate(e); err != nil {
			b.Fatal(err)
		}
	}
}
