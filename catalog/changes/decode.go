// Package changes follows the catalogue: it reads the topic title-changes from its start and keeps reading. It is how
// other modules learn of titles without importing the catalogue.
//
// A Follower hands changes to its owner in batches; Titles is a ready-made owner, the catalogue in memory. The topic may
// repeat itself, so readers keep a title's highest revision.
package changes

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
)

// maxIDBytes is the greatest length of a title or playable id, as in the contract.
const maxIDBytes = 64

// Decode reads one record of title-changes: the key is the title's id, the value the title.
func Decode(key, value []byte) (*catalogv1.Title, error) {
	if value == nil {
		return nil, errors.New("record has no value; a withdrawn title is a Title with deleted set")
	}
	t := new(catalogv1.Title)
	if err := proto.Unmarshal(value, t); err != nil {
		return nil, fmt.Errorf("value is not a Title: %w", err)
	}
	switch {
	case t.GetTitleId() == "" || len(t.GetTitleId()) > maxIDBytes:
		return nil, fmt.Errorf("title_id has %d bytes, must have 1 to %d", len(t.GetTitleId()), maxIDBytes)
	case t.GetTitleId() != string(key):
		return nil, fmt.Errorf("key %q is not the title_id %q", key, t.GetTitleId())
	case t.GetRevision() < 1:
		return nil, fmt.Errorf("title %q has revision %d, must be at least 1", t.GetTitleId(), t.GetRevision())
	}
	return t, nil
}
