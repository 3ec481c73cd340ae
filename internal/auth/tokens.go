package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"
)

// tokenPrefix tells service tokens from an issuer's, and lets scanners of published code find those that slipped in.
const tokenPrefix = "mrq_"

// Entry is a service token as its file has it. The token is 256 random bits, so that a plain digest is as hard to turn back as
// a slow one.
type Entry struct {
	Name   string   `yaml:"name"`
	SHA256 string   `yaml:"sha256"`
	Roles  []string `yaml:"roles"`
	// Profiles bind the token to some profiles; without them it covers all.
	Profiles []string `yaml:"profiles,omitempty"`
}

// NewToken makes a token and the entry that makes it known.
func NewToken(name string, roles, profiles []string) (token string, e Entry, err error) {
	if name == "" || len(roles) == 0 {
		return "", e, errors.New("a token needs a name and a role")
	}
	if _, err := parseRoles(roles); err != nil {
		return "", e, err
	}
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return "", e, fmt.Errorf("draw a token: %w", err)
	}
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	digest := sha256.Sum256([]byte(token))
	return token, Entry{Name: name, SHA256: hex.EncodeToString(digest[:]), Roles: roles, Profiles: profiles}, nil
}

type known struct {
	digest   [sha256.Size]byte
	identity Identity
}

// parseTokens reads a file of tokens.
func parseTokens(text []byte) ([]known, error) {
	var entries []Entry
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&entries); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("a list of name, sha256, roles and profiles is wanted: %w", err)
	}
	out := make([]known, 0, len(entries))
	for i, e := range entries {
		digest, err := hex.DecodeString(e.SHA256)
		if err != nil || len(digest) != sha256.Size {
			return nil, fmt.Errorf("entry %d: sha256 must be 64 hexadecimal digits", i)
		}
		roles, err := parseRoles(e.Roles)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if e.Name == "" || len(roles) == 0 {
			return nil, fmt.Errorf("entry %d: name and roles must not be empty", i)
		}
		k := known{identity: Identity{Name: e.Name, Roles: roles, Bound: e.Profiles != nil, Profiles: e.Profiles}}
		copy(k.digest[:], digest)
		out = append(out, k)
	}
	return out, nil
}

// lookEvery is how often the file may be looked at for a change.
const lookEvery = time.Second

// tokens are those of a file, which is read again when it changes, so that a token can be taken back under way.
type tokens struct {
	path  string
	log   *slog.Logger
	known atomic.Pointer[[]known]

	mu     sync.Mutex
	looked time.Time
	seen   [2]int64 // when the file was changed, in nanoseconds, and its size
}

func openTokens(path string, log *slog.Logger) (*tokens, error) {
	t := &tokens{path: path, log: log, looked: time.Now()}
	if err := t.read(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tokens) read() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return fmt.Errorf("auth.tokens_file: %w", err)
	}
	seen := [2]int64{info.ModTime().UnixNano(), info.Size()}
	if seen == t.seen {
		return nil
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return fmt.Errorf("auth.tokens_file: %w", err)
	}
	list, err := parseTokens(text)
	if err != nil {
		return fmt.Errorf("auth.tokens_file %s: %w", t.path, err)
	}
	t.known.Store(&list)
	t.seen = seen
	return nil
}

// refresh reads the file again if it changed. One that cannot be read leaves everything as it was.
func (t *tokens) refresh() {
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	if time.Since(t.looked) < lookEvery {
		return
	}
	t.looked = time.Now()
	if err := t.read(); err != nil {
		t.log.Error("service tokens stay as they were", "error", err)
	}
}

// identify compares with every token, whichever it is: how long that takes says nothing of them.
func (t *tokens) identify(token string) (Identity, error) {
	t.refresh()
	digest := sha256.Sum256([]byte(token))
	list := *t.known.Load()
	found := -1
	for i := range list {
		if subtle.ConstantTimeCompare(digest[:], list[i].digest[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return Identity{}, ErrUnknown
	}
	return list[found].identity, nil
}

// YAML is the entry as a file of tokens has it.
func (e Entry) YAML() (string, error) {
	text, err := yaml.Marshal([]Entry{e})
	if err != nil {
		return "", fmt.Errorf("write a token's entry: %w", err)
	}
	return string(text), nil
}
