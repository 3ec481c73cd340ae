// Package auth says who a caller is: by a service token, of which only a digest is kept, or by a bearer token of an OpenID
// Connect issuer. What a caller may do is a set of roles, and a caller may be bound to some profiles. Who may call what is for
// package rpc to enforce.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Role is a kind of work that a caller may do.
type Role string

const (
	// Viewer asks for recommendations and reads the catalogue, as an app does.
	Viewer Role = "viewer"
	// Recorder records watch events.
	Recorder Role = "recorder"
	// Editor changes the catalogue.
	Editor Role = "editor"
	// Operator looks at the service: metrics, contracts, the state of profiles.
	Operator Role = "operator"
)

// Roles are all roles.
func Roles() []Role { return []Role{Viewer, Recorder, Editor, Operator} }

// parseRoles reads names of roles.
func parseRoles(names []string) ([]Role, error) {
	roles := make([]Role, 0, len(names))
	for _, name := range names {
		if !slices.Contains(Roles(), Role(name)) {
			return nil, fmt.Errorf("role %q is none of %v", name, Roles())
		}
		roles = append(roles, Role(name))
	}
	return roles, nil
}

// Identity is who calls.
type Identity struct {
	// Name is for logs: a token's name or a subject. It is no secret.
	Name  string
	Roles []Role
	// Bound callers may name the profiles in Profiles only.
	Bound    bool
	Profiles []string
}

// Has reports whether the caller has a role.
func (i Identity) Has(r Role) bool { return slices.Contains(i.Roles, r) }

// Covers reports whether the caller may name a profile.
func (i Identity) Covers(profile string) bool {
	return !i.Bound || slices.Contains(i.Profiles, profile)
}

// Everybody is every caller of a service that has no authentication: trusted, as whoever reaches it is.
func Everybody() Identity { return Identity{Name: "anonymous", Roles: Roles()} }

var (
	// ErrUnknown is wrapped when a token says nothing or nothing true.
	ErrUnknown = errors.New("the token is not valid")
	// ErrUnavailable is wrapped when it cannot be found out now whether a token is valid.
	ErrUnavailable = errors.New("tokens cannot be checked now")
)

// Config says which callers are known. With none of them, everybody is let in, and the service listens on the loopback
// interface alone unless Anonymous says otherwise.
type Config struct {
	// TokensFile is a YAML file of service tokens, which `marquee tokens new` makes entries for. It is read again when it
	// changes.
	TokensFile string `koanf:"tokens_file"`
	// Anonymous lets everybody in on a public address as well: for a service behind something that authenticates.
	Anonymous bool `koanf:"anonymous"`

	OIDC OIDCConfig `koanf:"oidc"`
}

// OIDCConfig names an issuer of bearer tokens.
type OIDCConfig struct {
	// Issuer is the issuer's URL; its keys are found by OpenID Connect discovery. Empty: none.
	Issuer string `koanf:"issuer"`
	// Audience must be among a token's audiences.
	Audience string `koanf:"audience"`
	// RolesClaim is the claim that lists the roles: viewer, recorder, editor, operator.
	RolesClaim string `koanf:"roles_claim"`
	// ProfilesClaim is the claim with the profile, or the list of profiles, that a token is bound to; a token without it
	// covers none. Empty: tokens cover all profiles.
	ProfilesClaim string `koanf:"profiles_claim"`
}

// DefaultConfig knows nobody.
func DefaultConfig() Config {
	return Config{OIDC: OIDCConfig{RolesClaim: "marquee_roles", ProfilesClaim: "marquee_profiles"}}
}

// Enabled reports whether callers must say who they are.
func (c Config) Enabled() bool { return c.TokensFile != "" || c.OIDC.Issuer != "" }

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.OIDC.Issuer != "" {
		u, err := url.Parse(c.OIDC.Issuer)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			errs = append(errs, errors.New("auth.oidc.issuer must be a URL with https"))
		case u.Scheme == "http" && !isLoopback(u.Hostname()):
			errs = append(errs, errors.New("auth.oidc.issuer must have https: keys fetched without it could be anybody's"))
		}
		if c.OIDC.Audience == "" {
			errs = append(errs, errors.New("auth.oidc.audience must say whom tokens are for, or those for other services would do"))
		}
		if c.OIDC.RolesClaim == "" {
			errs = append(errs, errors.New("auth.oidc.roles_claim must name a claim"))
		}
	}
	if c.Anonymous && c.Enabled() {
		errs = append(errs, errors.New("auth.anonymous lets everybody in: take it out, or auth.tokens_file and auth.oidc.issuer"))
	}
	return errors.Join(errs...)
}

// CheckListen refuses to open a port to others while everybody is let in.
func (c Config) CheckListen(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || c.Enabled() || c.Anonymous || isLoopback(host) {
		return nil //nolint:nilerr // what is wrong with the address is said where it is a setting
	}
	return fmt.Errorf("rpc.listen is %s, which others can reach, and nothing says who may call: set auth.tokens_file or "+
		"auth.oidc.issuer, listen on 127.0.0.1, or set auth.anonymous where something in front authenticates", listen)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Authenticator knows callers by their tokens.
type Authenticator struct {
	tokens *tokens
	oidc   *issuer
}

// New reads the service tokens. The issuer is asked when the first token of its comes.
func New(cfg Config, log *slog.Logger) (*Authenticator, error) {
	a := &Authenticator{}
	if cfg.TokensFile != "" {
		t, err := openTokens(cfg.TokensFile, log)
		if err != nil {
			return nil, err
		}
		a.tokens = t
	}
	if cfg.OIDC.Issuer != "" {
		a.oidc = &issuer{cfg: cfg.OIDC}
	}
	return a, nil
}

// Identify says who presents an Authorization header. Errors wrap ErrUnknown or ErrUnavailable and never hold the token.
func (a *Authenticator) Identify(ctx context.Context, authorization string) (Identity, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if token == "" || !strings.EqualFold(scheme, "bearer") {
		return Identity{}, fmt.Errorf("%w: send the header Authorization: Bearer TOKEN", ErrUnknown)
	}
	if strings.HasPrefix(token, tokenPrefix) {
		if a.tokens == nil {
			return Identity{}, ErrUnknown
		}
		return a.tokens.identify(token)
	}
	if a.oidc == nil {
		return Identity{}, ErrUnknown
	}
	return a.oidc.identify(ctx, token)
}
