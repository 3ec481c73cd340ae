package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"marquee/internal/lake"
	"marquee/training/model"
)

const (
	currentKey     = "current.json"
	currentVersion = 1
	// keptChanges and keptPrevious bound what current.json remembers.
	keptChanges  = 100
	keptPrevious = 100
	maxCurrent   = 1 << 20
	// maxText bounds each text of an author's, so that current.json stays below maxCurrent.
	maxText = 1000
)

// Kinds of change.
const (
	Promoted   = "promote"
	RolledBack = "rollback"
)

// Current says which release is in use and how that came about.
type Current struct {
	Version int `json:"version"`
	// ID is the release in use, empty while none has been promoted.
	ID string `json:"id"`
	// Previous are the releases in use before, the latest first: the first is what a rollback goes back to.
	Previous []string `json:"previous,omitempty"`
	// Token is the highest fencing token that a change was made with.
	Token int64 `json:"token"`
	// Changes are the latest changes, the newest first.
	Changes []Change `json:"changes,omitempty"`
}

// Change is one promotion or rollback.
type Change struct {
	Kind   string    `json:"kind"`
	ID     string    `json:"id"`             // in use from then on
	From   string    `json:"from,omitempty"` // in use before
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Token  int64     `json:"token"`
}

// Author is who changes the release in use, and why.
type Author struct {
	By, Reason string
	// Token is the fencing token of the lease the author holds.
	Token int64
}

// DecodeCurrent parses and checks a current.json.
func DecodeCurrent(data []byte) (Current, error) {
	fail := func(format string, args ...any) (Current, error) {
		return Current{}, fmt.Errorf("%s is damaged: %w; delete it from the model store, then promote the release that is to be in use",
			currentKey, fmt.Errorf(format, args...))
	}
	if len(data) > maxCurrent {
		return fail("%d bytes, more than %d", len(data), maxCurrent)
	}
	var c Current
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&c); err != nil {
		return fail("%w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fail("it is followed by something else")
	}
	if c.Version != currentVersion {
		return fail("version %d, this program reads %d", c.Version, currentVersion)
	}
	if !model.ValidID(c.ID) {
		return fail("%q is not the id of a release", c.ID)
	}
	for _, id := range c.Previous {
		if !model.ValidID(id) {
			return fail("%q is not the id of a release", id)
		}
	}
	if c.Token < 0 {
		return fail("token %d is negative", c.Token)
	}
	return c, nil
}

// Current returns which release is in use; its ID is empty while none has been promoted.
func (r *Registry) Current(ctx context.Context) (Current, error) {
	data, err := r.store.ReadFile(ctx, currentKey)
	if lake.IsNotExist(err) {
		return Current{Version: currentVersion}, nil
	}
	if err != nil {
		return Current{}, err
	}
	return DecodeCurrent(data)
}

// Promote puts a release in use, after checking that all its files are there with their sizes: who did not just publish it
// calls Verify first. Promoting the one in use changes nothing.
// Errors wrap ErrUnknown or ErrFenced, or are the store's.
func (r *Registry) Promote(ctx context.Context, id string, a Author) (Current, error) {
	c, err := r.Current(ctx)
	if err != nil {
		return Current{}, fmt.Errorf("promote release %s: %w", id, err)
	}
	if err := errors.Join(c.fence(a), r.check(ctx, id)); err != nil {
		return Current{}, fmt.Errorf("promote release %s: %w", id, err)
	}
	if c.ID == id {
		return c, nil
	}
	previous := c.Previous
	if c.ID != "" {
		previous = append([]string{c.ID}, previous...)
	}
	// A release promoted again is not also its own predecessor.
	previous = slices.DeleteFunc(slices.Clone(previous), func(p string) bool { return p == id })
	return r.replace(ctx, c, Promoted, id, previous, a)
}

// Rollback puts back in use the latest earlier release that is still there and whole. Errors wrap ErrNoRollback or ErrFenced, or are the
// store's.
func (r *Registry) Rollback(ctx context.Context, a Author) (Current, error) {
	c, err := r.Current(ctx)
	if err != nil {
		return Current{}, fmt.Errorf("roll back: %w", err)
	}
	if err := c.fence(a); err != nil {
		return Current{}, fmt.Errorf("roll back: %w", err)
	}
	for i, id := range c.Previous {
		err := r.Verify(ctx, id)
		if err == nil {
			return r.replace(ctx, c, RolledBack, id, c.Previous[i+1:], a)
		}
		if !errors.Is(err, ErrUnknown) && !errors.Is(err, model.ErrCorrupt) && !errors.Is(err, model.ErrVersion) {
			return Current{}, fmt.Errorf("roll back: %w", err)
		}
		r.log.Warn("earlier release cannot be rolled back to", "release", id, "error", err)
	}
	return Current{}, ErrNoRollback
}

// fence refuses an author whose lease has passed on.
func (c Current) fence(a Author) error {
	if a.Token < c.Token {
		return fmt.Errorf("%w: token %d, the release in use was chosen with %d", ErrFenced, a.Token, c.Token)
	}
	return nil
}

func (r *Registry) replace(ctx context.Context, c Current, kind, id string, previous []string, a Author) (Current, error) {
	change := Change{Kind: kind, ID: id, From: c.ID, At: time.Now().UTC(), By: short(a.By), Reason: short(a.Reason), Token: a.Token}
	next := Current{
		Version: currentVersion, ID: id, Token: a.Token,
		Previous: previous[:min(len(previous), keptPrevious)],
		Changes:  append([]Change{change}, c.Changes[:min(len(c.Changes), keptChanges-1)]...),
	}
	text, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return Current{}, fmt.Errorf("%s release %s: %w", kind, id, err)
	}
	if _, err := r.store.WriteFile(ctx, currentKey, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}); err != nil {
		return Current{}, fmt.Errorf("%s release %s: %w", kind, id, err)
	}
	r.log.Info("release in use changed", "kind", kind, "release", id, "from", c.ID, "by", a.By, "reason", a.Reason)
	return next, nil
}

// short cuts a text to at most maxText bytes of valid UTF-8.
func short(s string) string {
	if len(s) > maxText {
		s = s[:maxText-len("…")] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

// Prune deletes all releases but the keep latest created, the one in use and the one a rollback goes back to, and what
// writers that died a day ago or more left unfinished. It returns the ids deleted. keep must be 1 or more.
func (r *Registry) Prune(ctx context.Context, keep int) ([]string, error) {
	if keep < 1 {
		return nil, fmt.Errorf("prune releases: keep must be 1 or more, is %d", keep)
	}
	deleted, err := r.prune(ctx, keep)
	if err != nil {
		return deleted, fmt.Errorf("prune releases: %w", err)
	}
	return deleted, nil
}

func (r *Registry) prune(ctx context.Context, keep int) ([]string, error) {
	// In this order: a release listed here and promoted meanwhile is then seen to be in use.
	releases, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	bundles, err := r.bundles(ctx)
	if err != nil {
		return nil, err
	}
	c, err := r.Current(ctx)
	if err != nil {
		return nil, err
	}
	kept := map[string]bool{c.ID: true}
	for i, m := range releases {
		kept[m.ID] = kept[m.ID] || i < keep
	}
	if target, ok := rollbackTarget(c, releases); ok {
		kept[target] = true
	}
	var deleted []string
	for _, m := range releases {
		b, there := bundles[m.ID]
		if kept[m.ID] || !there {
			continue
		}
		if err := r.remove(ctx, m.ID, b); err != nil {
			return deleted, err
		}
		deleted = append(deleted, m.ID)
	}
	for id, b := range bundles {
		if !b.complete && !kept[id] && b.abandoned(time.Now()) {
			if err := r.remove(ctx, id, b); err != nil {
				return deleted, err
			}
		}
	}
	return deleted, nil
}

// rollbackTarget is the latest earlier release among those that can be read.
func rollbackTarget(c Current, releases []model.Manifest) (string, bool) {
	for _, id := range c.Previous {
		if slices.ContainsFunc(releases, func(m model.Manifest) bool { return m.ID == id }) {
			return id, true
		}
	}
	return "", false
}

func (b *stored) abandoned(now time.Time) bool {
	for _, o := range b.files {
		if now.Sub(o.ModTime) < unfinishedAge {
			return false
		}
	}
	return true
}

// remove deletes a bundle, its manifest first: from then on it does not exist, wherever the rest is interrupted.
func (r *Registry) remove(ctx context.Context, id string, b *stored) error {
	if b.complete {
		if err := r.delete(ctx, key(id, model.ManifestFile)); err != nil {
			return err
		}
	}
	for _, o := range b.files {
		if o.Key != key(id, model.ManifestFile) {
			if err := r.delete(ctx, o.Key); err != nil {
				return err
			}
		}
	}
	r.log.Info("release deleted", "release", id)
	return nil
}

func (r *Registry) delete(ctx context.Context, key string) error {
	if err := r.store.Delete(ctx, key); err != nil && !lake.IsNotExist(err) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}
