package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"marquee/internal/lake"
)

// Info is one snapshot in the lake: the sets of it that are complete, and those whose manifest cannot be read.
type Info struct {
	ID   string    `json:"snapshot"`
	AsOf time.Time `json:"as_of"`
	// BuiltAt is when its last set was completed.
	BuiltAt time.Time            `json:"built_at"`
	Sets    map[string]*Manifest `json:"sets"`
	// Damaged says of a set what is wrong with its manifest.
	Damaged map[string]Damage `json:"damaged,omitempty"`
}

// Damage is an error wrapping ErrCorrupt, which JSON shows as text.
type Damage struct{ Err error }

// MarshalText implements encoding.TextMarshaler.
func (d Damage) MarshalText() ([]byte, error) { return []byte(d.Err.Error()), nil }

// Has reports whether all the sets named are complete.
func (i *Info) Has(sets ...string) bool {
	for _, s := range sets {
		if i.Sets[s] == nil {
			return false
		}
	}
	return true
}

// damage is an error wrapping ErrCorrupt when one of the sets named is damaged.
func (i *Info) damage(sets ...string) error {
	for _, s := range sets {
		if d, ok := i.Damaged[s]; ok {
			return fmt.Errorf("%w; build it again with marquee features build --as-of %s", d.Err, i.AsOf.Format(time.RFC3339Nano))
		}
	}
	return nil
}

// List returns all snapshots that have a set, newest first: by as_of, among equals by when they were built. A manifest
// that cannot be read makes its set damaged, and none of the others.
func List(ctx context.Context, l *lake.Lake) ([]*Info, error) {
	ids := map[string]*Info{}
	for o, err := range l.List(ctx, Root) {
		if err != nil {
			return nil, fmt.Errorf("list feature snapshots: %w", err)
		}
		set, id, ok := splitManifestKey(o.Key)
		if !ok {
			continue
		}
		if ids[id] == nil {
			asOf, err := ParseID(id)
			if err != nil {
				return nil, err
			}
			ids[id] = &Info{ID: id, AsOf: asOf, Sets: map[string]*Manifest{}, Damaged: map[string]Damage{}}
		}
		if err := ids[id].read(ctx, l, set); err != nil {
			return nil, err
		}
	}
	out := make([]*Info, 0, len(ids))
	for _, i := range ids {
		out = append(out, i)
	}
	slices.SortFunc(out, newestFirst)
	return out, nil
}

// read takes in the manifest of a set.
func (i *Info) read(ctx context.Context, l *lake.Lake, set string) error {
	m, err := readManifest(ctx, l, set, i.ID)
	if errors.Is(err, ErrCorrupt) {
		i.Damaged[set] = Damage{err}
		return nil
	}
	if err != nil {
		return err
	}
	i.Sets[set] = m
	if m.BuiltAt.After(i.BuiltAt) {
		i.BuiltAt = m.BuiltAt
	}
	return nil
}

func newestFirst(a, b *Info) int {
	return cmp.Or(b.AsOf.Compare(a.AsOf), b.BuiltAt.Compare(a.BuiltAt), strings.Compare(b.ID, a.ID))
}

// splitManifestKey takes features/SET/SNAPSHOT/manifest.json apart.
func splitManifestKey(key string) (set, id string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, Root), "/")
	if len(parts) != 3 || parts[2] != "manifest.json" || !ValidName(parts[0]) || !ValidID(parts[1]) {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// Newest returns the newest snapshot that has all the sets named. Without one the error wraps ErrNotFound. One of them
// damaged in a newer snapshot is an error wrapping ErrCorrupt: nobody gets older data unasked.
func Newest(ctx context.Context, l *lake.Lake, sets ...string) (*Info, error) {
	all, err := List(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.Has(sets...) {
			return i, nil
		}
		if err := i.damage(sets...); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: none of %d in the lake has %s; build one with marquee features build",
		ErrNotFound, len(all), strings.Join(sets, ", "))
}

// Get returns the snapshot with the given id, or an error wrapping ErrNotFound.
func Get(ctx context.Context, l *lake.Lake, id string) (*Info, error) {
	all, err := List(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.ID == id {
			return i, nil
		}
	}
	return nil, fmt.Errorf("%w: %s is not among the %d in the lake", ErrNotFound, id, len(all))
}

// Set is one opened set of a snapshot. It is safe for concurrent use.
type Set struct {
	*Manifest
	lake *lake.Lake
}

// Open opens a set of the snapshot with the given id, or of the newest one that has the set when id is empty. It reads
// the manifest only; errors wrap ErrNotFound or ErrCorrupt.
func Open(ctx context.Context, l *lake.Lake, set, id string) (*Set, error) {
	if !ValidName(set) {
		return nil, fmt.Errorf("feature set name %q: want lower-case letters, digits and underscores", set)
	}
	if id == "" {
		newest, err := Newest(ctx, l, set)
		if err != nil {
			return nil, err
		}
		return &Set{Manifest: newest.Sets[set], lake: l}, nil
	}
	if _, err := ParseID(id); err != nil {
		return nil, err
	}
	m, err := readManifest(ctx, l, set, id)
	if err != nil {
		return nil, err
	}
	return &Set{Manifest: m, lake: l}, nil
}

func readManifest(ctx context.Context, l *lake.Lake, set, id string) (*Manifest, error) {
	key := ManifestKey(set, id)
	b, err := l.ReadFile(ctx, key)
	if lake.IsNotExist(err) {
		return nil, fmt.Errorf("%w: %s has no %s", ErrNotFound, id, set)
	}
	if err != nil {
		return nil, err
	}
	m, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if m.Set != set || m.Snapshot != id {
		return nil, fmt.Errorf("%s: %w: it is the manifest of %s %s", key, ErrCorrupt, m.Set, m.Snapshot)
	}
	return m, nil
}

// Verify reads every part in full and compares size and checksum with the manifest. Errors wrap ErrCorrupt and name the
// part.
func (s *Set) Verify(ctx context.Context) error {
	for _, p := range s.Parts {
		if err := s.lake.Verify(ctx, p.FileInfo); err != nil {
			return partError(p, err)
		}
	}
	return nil
}

// Present checks that every part is there with the size the manifest says, without reading it.
func (s *Set) Present(ctx context.Context) error {
	for _, p := range s.Parts {
		a, err := s.lake.Attributes(ctx, p.Key)
		if err != nil {
			return partError(p, err)
		}
		if a.Size != p.Bytes {
			return partError(p, fmt.Errorf("%w: it has %d bytes, its manifest says %d", lake.ErrCorrupt, a.Size, p.Bytes))
		}
	}
	return nil
}

// partError tells a part that is missing or damaged from a store that cannot be reached.
func partError(p Part, err error) error {
	if lake.IsNotExist(err) || errors.Is(err, lake.ErrCorrupt) {
		return fmt.Errorf("%w: part %s: %w", ErrCorrupt, p.Key, err)
	}
	return fmt.Errorf("read part %s: %w", p.Key, err)
}
