package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// file writes entries for the tokens it returns.
func file(t *testing.T, entries ...Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	var text strings.Builder
	for _, e := range entries {
		s, err := e.YAML()
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(s)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func token(t *testing.T, name string, roles, profiles []string) (string, Entry) {
	t.Helper()
	secret, e, err := NewToken(name, roles, profiles)
	if err != nil {
		t.Fatal(err)
	}
	return secret, e
}

func TestServiceTokens(t *testing.T) {
	app, appEntry := token(t, "app", []string{"viewer", "recorder"}, []string{"p1", "p2"})
	back, backEntry := token(t, "backend", []string{"editor"}, nil)
	stranger, _ := token(t, "stranger", []string{"operator"}, nil)
	var log bytes.Buffer
	path := file(t, appEntry, backEntry)
	a, err := New(Config{TokensFile: path}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Identify(t.Context(), "Bearer "+app)
	if err != nil || id.Name != "app" || !id.Has(Viewer) || !id.Has(Recorder) || id.Has(Editor) || !id.Covers("p2") || id.Covers("p3") {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err = a.Identify(t.Context(), "bearer  "+back); err != nil || !id.Has(Editor) || !id.Covers("anybody") {
		t.Errorf("%+v, %v", id, err)
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic " + app, app, "Bearer " + stranger, "Bearer " + app + "x", "Bearer a.b.c"} {
		if _, err := a.Identify(t.Context(), header); !errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), tokenPrefix) {
			t.Errorf("%q: %v", header, err)
		}
	}
	// A token taken out of the file is taken back; a broken file changes nothing.
	if err := os.WriteFile(path, []byte("broken: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	a.tokens.looked = time.Time{}
	if _, err := a.Identify(t.Context(), "Bearer "+app); err != nil {
		t.Errorf("beside a broken file: %v", err)
	}
	text, err := backEntry.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a.tokens.looked = time.Time{}
	if _, err := a.Identify(t.Context(), "Bearer "+app); !errors.Is(err, ErrUnknown) {
		t.Errorf("taken back: %v", err)
	}
	if strings.Contains(log.String(), tokenPrefix) || !strings.Contains(log.String(), "stay as they were") {
		t.Errorf("logged: %s", log.String())
	}
}

func TestBrokenTokenFiles(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for text, want := range map[string]string{
		"- {name: a, sha256: abc, roles: [viewer]}":               "64 hexadecimal",
		"- {name: a, sha256: " + digest + ", roles: [root]}":      `role "root"`,
		"- {name: a, sha256: " + digest + "}":                     "roles must not be empty",
		"- {sha256: " + digest + ", roles: [viewer]}":             "name",
		"- {name: a, token: x, sha256: " + digest + "}":           "field token",
		"- {name: a, sha256: " + digest + ", roles: viewer}\n- [": "list of name",
	} {
		if _, err := parseTokens([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := New(Config{TokensFile: filepath.Join(t.TempDir(), "none")}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there was read")
	}
	if _, _, err := NewToken("a", []string{"root"}, nil); err == nil {
		t.Error("a token of no role was made")
	}
	// An empty list of profiles covers none, other than no list.
	known, err := parseTokens([]byte("- {name: a, sha256: " + digest + ", roles: [viewer], profiles: []}"))
	if err != nil || known[0].identity.Covers("p") {
		t.Errorf("%+v, %v", known, err)
	}
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte("- {name: a, sha256: " + strings.Repeat("ab", 32) + ", roles: [viewer], profiles: [p]}"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		known, err := parseTokens(text)
		if err != nil {
			return
		}
		for _, k := range known {
			if k.identity.Name == "" || len(k.identity.Roles) == 0 {
				t.Errorf("%q makes %+v", text, k)
			}
		}
	})
}

// idp is a small OpenID Connect issuer with keys of its own.
type idp struct {
	*httptest.Server

	key     *ecdsa.PrivateKey
	down    atomic.Bool
	fetches atomic.Int32
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{key: key}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		p.fetches.Add(1)
		if p.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) token(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"iss": p.URL, "aud": "marquee", "sub": "somebody", "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range claims {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestIssuersTokens(t *testing.T) {
	p := newIDP(t)
	cfg := DefaultConfig()
	cfg.OIDC.Issuer, cfg.OIDC.Audience = p.URL, "marquee"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Identify(t.Context(), "Bearer "+p.token(t, p.key, map[string]any{
		"marquee_roles": []string{"viewer", "somebody-elses-role"}, "marquee_profiles": "p1 p2",
	}))
	if err != nil || id.Name != "somebody" || !id.Has(Viewer) || len(id.Roles) != 1 || !id.Covers("p1") || id.Covers("p3") {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err = a.Identify(t.Context(), "Bearer "+p.token(t, p.key, map[string]any{"marquee_roles": "viewer"})); err != nil || id.Covers("p1") {
		t.Errorf("without profiles: %+v, %v", id, err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"another's key":      p.token(t, other, nil),
		"another's audience": p.token(t, p.key, map[string]any{"aud": "shop"}),
		"another's issuer":   p.token(t, p.key, map[string]any{"iss": "https://elsewhere"}),
		"expired":            p.token(t, p.key, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"unsigned":           "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
		"nonsense":           "a.b.c",
	} {
		if _, err := a.Identify(t.Context(), "Bearer "+raw); !errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), raw) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fetched := p.fetches.Load()
	if _, err := a.Identify(t.Context(), "Bearer "+p.token(t, p.key, nil)); err != nil || p.fetches.Load() != fetched {
		t.Errorf("keys that are known were fetched again, %v", err)
	}
}

func TestAnIssuerThatIsAwayComesBack(t *testing.T) {
	p := newIDP(t)
	p.down.Store(true)
	cfg := DefaultConfig()
	cfg.OIDC.Issuer, cfg.OIDC.Audience, cfg.OIDC.ProfilesClaim = p.URL, "marquee", ""
	a, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	raw := "Bearer " + p.token(t, p.key, nil)
	for range 2 {
		if _, err := a.Identify(t.Context(), raw); !errors.Is(err, ErrUnavailable) {
			t.Errorf("while the issuer is away: %v", err)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	p.down.Store(false)
	a.oidc.failed = time.Time{}
	if id, err := a.Identify(t.Context(), raw); err != nil || !id.Covers("anybody") {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"http":        {func(c *Config) { c.OIDC.Issuer, c.OIDC.Audience = "http://idp.example.com", "m" }, "https"},
		"no audience": {func(c *Config) { c.OIDC.Issuer = "https://idp.example.com" }, "auth.oidc.audience"},
		"no URL":      {func(c *Config) { c.OIDC.Issuer, c.OIDC.Audience = "idp", "m" }, "auth.oidc.issuer"},
		"no roles":    {func(c *Config) { c.OIDC = OIDCConfig{Issuer: "https://idp", Audience: "m"} }, "roles_claim"},
		"both":        {func(c *Config) { c.Anonymous, c.TokensFile = true, "f" }, "auth.anonymous"},
	} {
		c := DefaultConfig()
		tt.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	open, known, proxied := DefaultConfig(), Config{TokensFile: "f"}, Config{Anonymous: true}
	for _, listen := range []string{"127.0.0.1:8080", "localhost:0", "[::1]:1"} {
		if err := open.CheckListen(listen); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{"0.0.0.0:8080", ":8080", "192.168.1.2:1", "[::]:1", "host.example.com:1"} {
		if err := open.CheckListen(listen); err == nil || !strings.Contains(err.Error(), "auth.tokens_file") {
			t.Errorf("%s: %v", listen, err)
		}
		if err := errors.Join(known.CheckListen(listen), proxied.CheckListen(listen)); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}
