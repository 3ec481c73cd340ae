package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"marquee/catalog/v1/catalogv1connect"
	"marquee/ingest"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/internal/auth"
	"marquee/internal/rpc"
	"marquee/internal/telemetry"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
)

// procedures are those of every contract in this binary.
func procedures() []string {
	var out []string
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "marquee.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				out = append(out, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	return out
}

func TestEveryProcedureHasARole(t *testing.T) {
	all, declared := procedures(), permissions()
	if len(all) < 11 {
		t.Fatalf("only %v are known", all)
	}
	for _, p := range all {
		if role, ok := declared[p]; !ok || !slices.Contains(auth.Roles(), role) {
			t.Errorf("%s has no role in permissions.go: nobody can call it", p)
		}
	}
	for p := range declared {
		if !slices.Contains(all, p) {
			t.Errorf("%s has a role and is in no contract", p)
		}
	}
}

// guarded is the port with every service behind it, none of which does anything.
func guarded(t *testing.T, tokens string) *rpc.Server {
	t.Helper()
	return guardedWith(t, tokens, ingestv1connect.UnimplementedIngestServiceHandler{})
}

// guardedWith is guarded with a service that takes events.
func guardedWith(t *testing.T, tokens string, events ingestv1connect.IngestServiceHandler) *rpc.Server {
	t.Helper()
	cfg := rpc.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	log := slog.New(slog.DiscardHandler)
	s, err := rpc.New(cfg, log, telemetry.Registry(), noop.NewTracerProvider(), func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	path, h := catalogv1connect.NewCatalogServiceHandler(catalogv1connect.UnimplementedCatalogServiceHandler{}, s.OptionsPerItem()...)
	s.Handle(catalogv1connect.CatalogServiceName, path, h)
	path, h = ingestv1connect.NewIngestServiceHandler(events, append(s.OptionsPerItem(), ingest.HandlerOption())...)
	s.Handle(ingestv1connect.IngestServiceName, path, h)
	path, h = servingv1connect.NewRecommendationServiceHandler(servingv1connect.UnimplementedRecommendationServiceHandler{}, s.OptionsPerItem()...)
	s.Handle(servingv1connect.RecommendationServiceName, path, h)
	path, h = servingv1connect.NewServingAdminServiceHandler(servingv1connect.UnimplementedServingAdminServiceHandler{}, s.OptionsPerItem()...)
	s.Handle(servingv1connect.ServingAdminServiceName, path, h)
	if tokens == "" {
		s.Protect(nil, permissions())
	} else {
		a, err := auth.New(auth.Config{TokensFile: tokens}, log)
		if err != nil {
			t.Fatal(err)
		}
		s.Protect(a, permissions())
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Gate().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// call posts an empty message and returns the status, which says what became of it.
func call(t *testing.T, method, url, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// tokenOf makes a file of a token of each kind of caller.
func tokensOf(t *testing.T, profiles ...string) (path string, tokens map[auth.Role]string) {
	t.Helper()
	path, tokens = filepath.Join(t.TempDir(), "tokens.yaml"), map[auth.Role]string{}
	var file bytes.Buffer
	for _, role := range auth.Roles() {
		token, entry, err := auth.NewToken(string(role), []string{string(role)}, profiles)
		if err != nil {
			t.Fatal(err)
		}
		text, err := entry.YAML()
		if err != nil {
			t.Fatal(err)
		}
		tokens[role] = token
		file.WriteString(text)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, tokens
}

// TestAuthorizationMatrix calls everything there is on the port as everybody there is.
func TestAuthorizationMatrix(t *testing.T) {
	path, tokens := tokensOf(t)
	s := guarded(t, path)
	need := map[string]auth.Role{
		"GET /livez": rpc.Public, "GET /readyz": rpc.Public, "GET /metrics": auth.Operator,
		"POST /grpc.health.v1.Health/Check":                                   rpc.Public,
		"POST /grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      auth.Operator,
		"POST /grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": auth.Operator,
	}
	for p, role := range permissions() {
		need["POST "+p] = role
	}
	callers := map[string]string{"nobody": "", "a stranger": "mrq_unknown"}
	for role, token := range tokens {
		callers[string(role)] = token
	}
	for what, role := range need {
		method, path, _ := strings.Cut(what, " ")
		for name, token := range callers {
			got := call(t, method, s.Address()+path, token)
			refused := got == http.StatusUnauthorized || got == http.StatusForbidden
			switch {
			case role == rpc.Public, string(role) == name:
				if refused {
					t.Errorf("%s as %s: %d", what, name, got)
				}
			case tokens[auth.Role(name)] != "":
				if got != http.StatusForbidden {
					t.Errorf("%s as %s: %d, want 403", what, name, got)
				}
			case got != http.StatusUnauthorized:
				t.Errorf("%s as %s: %d, want 401", what, name, got)
			}
		}
	}
	for name, token := range callers {
		if got := call(t, "POST", s.Address()+"/marquee.serving.v1.RecommendationService/Undeclared", token); got != http.StatusUnauthorized && got != http.StatusNotFound {
			t.Errorf("what is not declared, as %s: %d", name, got)
		}
	}
}

func TestWithoutAuthenticationOnlyWhatIsDeclaredIsOpen(t *testing.T) {
	s := guarded(t, "")
	for _, p := range procedures() {
		if got := call(t, "POST", s.Address()+p, ""); got == http.StatusUnauthorized || got == http.StatusForbidden {
			t.Errorf("%s: %d", p, got)
		}
	}
	if got := call(t, "POST", s.Address()+"/marquee.serving.v1.RecommendationService/Undeclared", ""); got != http.StatusNotFound {
		t.Errorf("what is not declared: %d", got)
	}
}

func TestATokenIsBoundToItsProfiles(t *testing.T) {
	path, tokens := tokensOf(t, "mine")
	s := guarded(t, path)
	client := func(role auth.Role) connect.HTTPClient {
		t.Setenv(tokenVariable, tokens[role])
		return clientOf(s.Address())
	}
	serving := servingv1connect.NewRecommendationServiceClient(client(auth.Viewer), s.Address())
	admin := servingv1connect.NewServingAdminServiceClient(client(auth.Operator), s.Address())
	recorder := ingestv1connect.NewIngestServiceClient(client(auth.Recorder), s.Address())
	events := func(profiles ...string) (out []*ingestv1.WatchEvent) {
		for _, p := range profiles {
			out = append(out, &ingestv1.WatchEvent{ProfileId: p})
		}
		return out
	}
	for profile, want := range map[string]connect.Code{"mine": connect.CodeUnimplemented, "another's": connect.CodePermissionDenied} {
		viewer := &servingv1.Viewer{ProfileId: profile}
		_, recommend := serving.Recommend(t.Context(), connect.NewRequest(&servingv1.RecommendRequest{Viewer: viewer}))
		_, page := serving.HomePage(t.Context(), connect.NewRequest(&servingv1.HomePageRequest{Viewer: viewer}))
		_, similar := serving.SimilarTitles(t.Context(), connect.NewRequest(&servingv1.SimilarTitlesRequest{TitleId: "t", Viewer: viewer}))
		_, record := recorder.RecordEvents(t.Context(), connect.NewRequest(&ingestv1.RecordEventsRequest{Events: events("mine", profile)}))
		_, state := admin.ProfileState(t.Context(), connect.NewRequest(&servingv1.ProfileStateRequest{ProfileId: profile}))
		_, why := admin.WhyTitle(t.Context(), connect.NewRequest(&servingv1.WhyTitleRequest{TitleId: "t", Request: &servingv1.RecommendRequest{Viewer: viewer}}))
		for call, err := range map[string]error{"ProfileState": state, "WhyTitle": why, "Recommend": recommend, "HomePage": page, "SimilarTitles": similar, "RecordEvents": record} {
			if connect.CodeOf(err) != want {
				t.Errorf("%s for %s: %v, want %s", call, profile, err, want)
			}
		}
	}
	// The token goes to the service it is for, and to nobody else.
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was shown to another service")
		}
	}))
	defer elsewhere.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, elsewhere.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(auth.Viewer).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
