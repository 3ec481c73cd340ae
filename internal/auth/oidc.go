package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// discoveryTimeout bounds asking the issuer, and retryAfter how soon it is asked again when it did not answer.
	discoveryTimeout = 5 * time.Second
	retryAfter       = 2 * time.Second
)

// issuer checks the tokens of an OpenID Connect issuer. Its keys are fetched when they are needed and kept.
type issuer struct {
	cfg OIDCConfig

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	failed   time.Time
}

// verify returns the verifier, after discovery if there was none yet.
func (i *issuer) verify() (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.verifier != nil {
		return i.verifier, nil
	}
	if time.Since(i.failed) < retryAfter {
		return nil, fmt.Errorf("%w: the issuer did not answer", ErrUnavailable)
	}
	// The provider keeps the context's client for fetching keys later, so it must not end with a request.
	client := &http.Client{Timeout: discoveryTimeout}
	provider, err := oidc.NewProvider(oidc.ClientContext(context.Background(), client), i.cfg.Issuer)
	if err != nil {
		i.failed = time.Now()
		return nil, fmt.Errorf("%w: the issuer did not answer", ErrUnavailable)
	}
	i.verifier = provider.Verifier(&oidc.Config{ClientID: i.cfg.Audience})
	return i.verifier, nil
}

func (i *issuer) identify(ctx context.Context, raw string) (Identity, error) {
	verifier, err := i.verify()
	if err != nil {
		return Identity{}, err
	}
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		var expired *oidc.TokenExpiredError
		switch {
		case errors.As(err, &expired):
			return Identity{}, fmt.Errorf("%w: it expired", ErrUnknown)
		case strings.Contains(err.Error(), "fetching keys"):
			return Identity{}, fmt.Errorf("%w: the issuer's keys cannot be had", ErrUnavailable)
		}
		return Identity{}, ErrUnknown
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return Identity{}, ErrUnknown
	}
	id := Identity{Name: token.Subject, Bound: i.cfg.ProfilesClaim != ""}
	for _, name := range words(claims[i.cfg.RolesClaim]) {
		// An issuer's list has roles of other services as well.
		if roles, err := parseRoles([]string{name}); err == nil {
			id.Roles = append(id.Roles, roles...)
		}
	}
	if id.Bound {
		id.Profiles = words(claims[i.cfg.ProfilesClaim])
	}
	return id, nil
}

// words are a claim's: a list, or a string with spaces between them.
func words(claim any) []string {
	switch v := claim.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
