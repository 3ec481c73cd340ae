package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/proto"

	"marquee/catalog/store"
	catalogv1 "marquee/catalog/v1"
	"marquee/catalog/v1/catalogv1connect"
)

// serve runs the module's service behind HTTP and returns a client of it.
func serve(t *testing.T, m *Module) catalogv1connect.CatalogServiceClient {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(catalogv1connect.NewCatalogServiceHandler(m.Service()))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return catalogv1connect.NewCatalogServiceClient(server.Client(), server.URL)
}

func TestServiceOverTheWire(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		m := start(t, newModule(t, url, clientsOf(newBroker(t))))
		client := serve(t, m)
		ctx := t.Context()
		bad := film("bad")
		bad.Name, bad.Year = "", -1
		resp, err := client.PutTitles(ctx, connect.NewRequest(&catalogv1.PutTitlesRequest{Titles: []*catalogv1.Title{film("a"), bad, series("s", "e1", "e2"), series("t", "e2")}}))
		if err != nil {
			t.Fatal(err)
		}
		results := resp.Msg.GetResults()
		for i, want := range []struct {
			accepted bool
			revision int64
		}{{true, 1}, {false, 0}, {true, 2}, {false, 0}} {
			r := results[i]
			if r.GetIndex() != uint32(i) || r.GetAccepted() != want.accepted || r.GetChanged() != want.accepted || r.GetRevision() != want.revision {
				t.Errorf("result %d: %v", i, r)
			}
		}
		got, err := client.GetTitle(ctx, connect.NewRequest(&catalogv1.GetTitleRequest{TitleId: "a"}))
		if err != nil || got.Msg.GetTitle().GetName() != "Film a" || got.Msg.GetTitle().GetRevision() != 1 {
			t.Errorf("GetTitle = %v, %v", got, err)
		}
		if id, err := m.Service().TitleOf(ctx, "e2"); err != nil || id != "s" {
			t.Errorf("TitleOf = %q, %v", id, err)
		}
		if _, err := m.Service().TitleOf(ctx, "s"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("TitleOf of a series = %v", err)
		}
		for range 2 {
			deleted, err := client.DeleteTitle(ctx, connect.NewRequest(&catalogv1.DeleteTitleRequest{TitleId: "a"}))
			if err != nil || deleted.Msg.GetRevision() != 3 {
				t.Errorf("DeleteTitle = %v, %v", deleted, err)
			}
		}
		got, err = client.GetTitle(ctx, connect.NewRequest(&catalogv1.GetTitleRequest{TitleId: "a"}))
		if err != nil || !got.Msg.GetTitle().GetDeleted() {
			t.Errorf("GetTitle of a withdrawn title = %v, %v", got, err)
		}
	})
}

func TestListTitlesPages(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		m := start(t, newModule(t, url, clientsOf(newBroker(t))))
		client := serve(t, m)
		var titles []*catalogv1.Title
		var want []string
		for i := range 250 {
			want = append(want, fmt.Sprintf("f%03d", i))
			titles = append(titles, film(want[i]))
		}
		put(t, m, titles...)
		for _, size := range []uint32{0, 1000, 99, 250} {
			var got []string
			token, pages := "", 0
			for first := true; first || token != ""; first = false {
				resp, err := client.ListTitles(t.Context(), connect.NewRequest(&catalogv1.ListTitlesRequest{PageSize: size, PageToken: token}))
				if err != nil {
					t.Fatal(err)
				}
				for _, title := range resp.Msg.GetTitles() {
					got = append(got, title.GetTitleId())
				}
				token = resp.Msg.GetNextPageToken()
				pages++
			}
			if !slices.Equal(got, want) {
				t.Errorf("page size %d: %d titles on %d pages", size, len(got), pages)
			}
		}
	})
}

func TestRequestsRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		m := start(t, newModule(t, url, clientsOf(newBroker(t))))
		s := m.Service()
		get := func(id string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := s.GetTitle(ctx, connect.NewRequest(&catalogv1.GetTitleRequest{TitleId: id}))
				return err
			}
		}
		list := func(size uint32, token string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := s.ListTitles(ctx, connect.NewRequest(&catalogv1.ListTitlesRequest{PageSize: size, PageToken: token}))
				return err
			}
		}
		puts := func(n int) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := s.PutTitles(ctx, connect.NewRequest(&catalogv1.PutTitlesRequest{Titles: make([]*catalogv1.Title, n)}))
				return err
			}
		}
		for _, tt := range []struct {
			name string
			call func(context.Context) error
			code connect.Code
			want string
		}{
			{"unknown title", get("nobody"), connect.CodeNotFound, `title "nobody": not in the catalogue`},
			{"empty id", get(""), connect.CodeInvalidArgument, "title_id"},
			{"long id", get(strings.Repeat("x", 65)), connect.CodeInvalidArgument, "title_id"},
			{"NUL", get("a\x00b"), connect.CodeInvalidArgument, "title_id: \"a\\x00b\" contains a NUL"},
			{"not UTF-8", get("\xff"), connect.CodeInvalidArgument, "is not valid UTF-8"},
			{"unknown title deleted", func(ctx context.Context) error {
				_, err := s.DeleteTitle(ctx, connect.NewRequest(&catalogv1.DeleteTitleRequest{TitleId: "nobody"}))
				return err
			}, connect.CodeNotFound, "nobody"},
			{"page too large", list(1001, ""), connect.CodeInvalidArgument, "page_size"},
			{"token of somebody else", list(1, "bm90IG91cnM"), connect.CodeInvalidArgument, "page_token: is not one that ListTitles gave"},
			{"token that is no base64", list(1, "%%%"), connect.CodeInvalidArgument, "page_token"},
			{"no titles", puts(0), connect.CodeInvalidArgument, "a request has 1 to 500 titles, this one 0"},
			{"too many titles", puts(501), connect.CodeInvalidArgument, "this one 501"},
		} {
			err := tt.call(t.Context())
			if connect.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %s with %q", tt.name, err, tt.code, tt.want)
			}
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := get("a")(canceled); connect.CodeOf(err) != connect.CodeCanceled {
			t.Errorf("canceled: %v", err)
		}
	})
}

// TestPutTitlesAnswersEachTitle goes through what can be wrong with a title; the good one between them is always stored.
func TestPutTitlesAnswersEachTitle(t *testing.T) {
	m := start(t, newModule(t, "sqlite:"+t.TempDir()+"/x.db", clientsOf(newBroker(t))))
	change := func(t *catalogv1.Title, f func(*catalogv1.Title)) *catalogv1.Title { f(t); return t }
	tests := []struct {
		name           string
		title          *catalogv1.Title
		field, message string
	}{
		{"missing", nil, "", "title is missing"},
		{"no id", film(""), "title_id", "at least 1"},
		{"long id", film(strings.Repeat("x", 65)), "title_id", "64"},
		{"no kind", change(film("x"), func(t *catalogv1.Title) { t.Kind = 0 }), "kind", ""},
		{"unknown kind", change(film("x"), func(t *catalogv1.Title) { t.Kind = 9 }), "kind", ""},
		{"negative year", change(film("x"), func(t *catalogv1.Title) { t.Year = -1 }), "year", ""},
		{"country", change(film("x"), func(t *catalogv1.Title) { t.Availability[0].Countries = []string{"DE", "Germany"} }), "availability[0].countries[1]", ""},
		{"window ends first", change(film("x"), func(t *catalogv1.Title) { t.Availability[0].From, t.Availability[0].Until = 9, 8 }), "availability[0]", "until must be after from"},
		{"seasons of a film", change(film("x"), func(t *catalogv1.Title) { t.Seasons = series("y", "e").Seasons }), "", "only a series has seasons"},
		{"invalid UTF-8 in a name", change(film("x"), func(t *catalogv1.Title) { t.Name = "caf\xe9" }), "name", `"caf\xe9" is not valid UTF-8`},
		{"invalid UTF-8 deep down", change(series("x", "e"), func(t *catalogv1.Title) { t.Seasons[0].Episodes[0].Name = "\xff" }), "seasons[0].episodes[0].name", "is not valid UTF-8"},
		{"invalid UTF-8 id", film("\xff\xfe"), "title_id", "is not valid UTF-8"},
		{"NUL", change(film("x"), func(t *catalogv1.Title) { t.Genres = []string{"Dra\x00ma"} }), "genres[0]", "contains a NUL character"},
		{"deleted", change(film("x"), func(t *catalogv1.Title) { t.Deleted = true }), "deleted", "is set by DeleteTitle"},
		{"oversized", change(series("x"), func(t *catalogv1.Title) {
			for i := range 2000 {
				t.Seasons[0].Episodes = append(t.Seasons[0].Episodes, &catalogv1.Episode{PlayableId: fmt.Sprint("big", i), Name: strings.Repeat("n", 1000)})
			}
		}), "", "must have at most 524288"},
		{"episode twice", series("x", "e1", "e2", "e1"), "seasons[0].episodes[2].playable_id", `"e1" is also seasons[0].episodes[0].playable_id`},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := film("good")
			good.Year = int32(1900 + i)
			results := put(t, m, tt.title, good)
			if !results[1].GetAccepted() || !results[1].GetChanged() {
				t.Errorf("the good title: %v", results[1])
			}
			r := results[0]
			if r.GetAccepted() || r.GetRevision() != 0 || len(r.GetViolations()) == 0 {
				t.Fatalf("the bad title: %v", r)
			}
			found := slices.ContainsFunc(r.GetViolations(), func(v *catalogv1.FieldViolation) bool {
				return v.GetField() == tt.field && strings.Contains(v.GetMessage(), tt.message)
			})
			if !found {
				t.Errorf("violations %v, want field %q with %q", r.GetViolations(), tt.field, tt.message)
			}
			if _, err := proto.Marshal(&catalogv1.PutTitlesResponse{Results: results}); err != nil {
				t.Errorf("the answer cannot be sent: %v", err)
			}
		})
	}
}

func TestPutTitlesAcrossARequest(t *testing.T) {
	m := start(t, newModule(t, "sqlite:"+t.TempDir()+"/x.db", clientsOf(newBroker(t))))
	put(t, m, series("owner", "e1"))
	results := put(t, m, film("a"), film("b"), film("a"), series("c", "e1"))
	want := []string{
		"0 true []", "1 true []",
		`2 false [title_id: "a" is also the title at index 0 of this request]`,
		`3 false [seasons[0].episodes[0].playable_id: "e1" belongs to title "owner"]`,
	}
	for i, r := range results {
		var said []string
		for _, v := range r.GetViolations() {
			said = append(said, v.GetField()+": "+v.GetMessage())
		}
		if got := fmt.Sprintf("%d %v %s", r.GetIndex(), r.GetAccepted(), said); got != want[i] {
			t.Errorf("result %q, want %q", got, want[i])
		}
	}
	many := series("many")
	for range 1000 {
		many.Seasons[0].Episodes = append(many.Seasons[0].Episodes, &catalogv1.Episode{PlayableId: ""})
	}
	if n := len(put(t, m, many)[0].GetViolations()); n != maxViolations+1 {
		t.Errorf("%d violations said of one title", n)
	}
}

// FuzzPageToken holds that a token is refused or names a place that a query can take.
func FuzzPageToken(f *testing.F) {
	f.Add("")
	f.Add(pageToken("ml1m:1193"))
	f.Add(pageToken("\x00"))
	f.Add("%%%")
	f.Fuzz(func(t *testing.T, token string) {
		after, err := readPageToken(token)
		if err != nil || token == "" {
			return
		}
		if len(after) < 1 || len(after) > 64 || len(textViolations(&catalogv1.GetTitleRequest{TitleId: after})) > 0 {
			t.Errorf("token %q reads as %q", token, after)
		}
	})
}

// FuzzPutTitles decodes what a client may send: each title is stored and comes back the same, or is refused with reasons.
func FuzzPutTitles(f *testing.F) {
	m := openOnly(f)
	for _, titles := range [][]*catalogv1.Title{{film("a")}, {series("s", "e1", "e1"), film("e1")}, {film("a"), film("a")}, {{}}} {
		b, err := proto.Marshal(&catalogv1.PutTitlesRequest{Titles: titles})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var req catalogv1.PutTitlesRequest
		if proto.Unmarshal(raw, &req) != nil {
			return
		}
		resp, err := m.Service().PutTitles(t.Context(), connect.NewRequest(&req))
		if err != nil {
			if connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Fatal(err)
			}
			return
		}
		for i, r := range resp.Msg.GetResults() {
			if r.GetAccepted() != (len(r.GetViolations()) == 0) {
				t.Fatalf("result %v", r)
			}
			if !r.GetAccepted() {
				continue
			}
			got, err := m.Service().GetTitle(t.Context(), connect.NewRequest(&catalogv1.GetTitleRequest{TitleId: r.GetTitleId()}))
			if err != nil {
				t.Fatal(err)
			}
			want := proto.CloneOf(req.GetTitles()[i])
			want.Revision = r.GetRevision()
			if !proto.Equal(got.Msg.GetTitle(), want) {
				t.Fatalf("stored %v, got back %v", want, got.Msg.GetTitle())
			}
		}
	})
}

func TestFailuresOfTheDatabaseAreToldWithoutItsWords(t *testing.T) {
	var log bytes.Buffer
	s := &Service{log: slog.New(slog.NewTextHandler(&log, nil))}
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	stopping := fmt.Errorf("store 1 titles: %w", &pgconn.PgError{Code: "57P01", Message: "terminating 10.1.2.3"})
	for _, tt := range []struct {
		name string
		ctx  context.Context
		err  error
		code connect.Code
	}{
		{"not there", t.Context(), store.ErrNotFound, connect.CodeNotFound},
		{"the server stops", t.Context(), stopping, connect.CodeUnavailable},
		{"too late", over, stopping, connect.CodeDeadlineExceeded},
		{"nobody asks any more", gone, stopping, connect.CodeCanceled},
		{"a fault of ours", t.Context(), errors.New("no such column"), connect.CodeInternal},
	} {
		err := s.failure(tt.ctx, tt.err)
		if connect.CodeOf(err) != tt.code || strings.Contains(err.Error(), "10.1.2.3") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if !strings.Contains(log.String(), "10.1.2.3") {
		t.Errorf("the log does not say why: %s", log.String())
	}
}
