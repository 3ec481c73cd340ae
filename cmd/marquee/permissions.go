package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"

	"marquee/catalog/v1/catalogv1connect"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/internal/auth"
	"marquee/internal/rpc"
	"marquee/serving/v1/servingv1connect"
)

// permissions are the roles that procedures need. One without is nobody's to call.
func permissions() rpc.Permissions {
	return rpc.Permissions{
		servingv1connect.RecommendationServiceRecommendProcedure:     auth.Viewer,
		servingv1connect.RecommendationServiceSimilarTitlesProcedure: auth.Viewer,
		servingv1connect.RecommendationServiceHomePageProcedure:      auth.Viewer,
		servingv1connect.ServingAdminServiceProfileStateProcedure:    auth.Operator,
		servingv1connect.ServingAdminServiceWhyTitleProcedure:        auth.Operator,
		ingestv1connect.IngestServiceRecordEventsProcedure:           auth.Recorder,
		ingestv1connect.IngestServiceRecordEventStreamProcedure:      auth.Recorder,
		catalogv1connect.CatalogServiceGetTitleProcedure:             auth.Viewer,
		catalogv1connect.CatalogServiceListTitlesProcedure:           auth.Viewer,
		catalogv1connect.CatalogServicePutTitlesProcedure:            auth.Editor,
		catalogv1connect.CatalogServiceDeleteTitleProcedure:          auth.Editor,
	}
}

// protect has the port check who calls.
func (s *service) protect() error {
	cfg := s.e.settings.Auth
	if !cfg.Enabled() {
		s.server.Protect(nil, permissions())
		return nil
	}
	a, err := auth.New(cfg, s.e.log)
	if err != nil {
		return err
	}
	s.server.Protect(a, permissions())
	return nil
}

// tokenVariable is the environment variable with the token that commands show a service.
const tokenVariable = "MARQUEE_TOKEN"

// clientOf is an HTTP client that shows the token in the environment to the service at a URL, and to nobody else.
func clientOf(service string) *http.Client {
	token := os.Getenv(tokenVariable)
	u, err := url.Parse(service)
	if token == "" || err != nil {
		return http.DefaultClient
	}
	return &http.Client{Transport: bearer{host: u.Host, token: token}}
}

type bearer struct{ host, token string }

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == b.host {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return http.DefaultTransport.RoundTrip(r)
}

type tokensCommands struct {
	New tokensNewCommand `cmd:"" help:"Make a service token: prints it once, with the entry that makes it known."`
}

type tokensNewCommand struct {
	Name    string   `help:"What the token is for, in logs." placeholder:"NAME" required:""`
	Role    []string `help:"What it may do, once or more: viewer, recorder, editor, operator." placeholder:"ROLE" required:""`
	Profile []string `help:"Profile it is bound to, once or more; without it, all." placeholder:"ID"`
	JSON    bool     `help:"Print JSON."`
}

// Run makes a token.
func (t tokensNewCommand) Run(c *console) error {
	token, entry, err := auth.NewToken(t.Name, t.Role, t.Profile)
	if err != nil {
		return usageError{err}
	}
	if t.JSON {
		return printJSON(c.stdout, map[string]any{
			"token": token, "name": entry.Name, "sha256": entry.SHA256, "roles": entry.Roles, "profiles": entry.Profiles,
		})
	}
	text, err := entry.YAML()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "# The token, which nobody can tell again:\n# %s\n# Its entry in auth.tokens_file:\n%s", token, text)
	return err
}
