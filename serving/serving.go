// Package serving answers what to show a viewer next: lists, home pages and similar titles, from live profile state and the
// current release, in the stages retrieve, filter, rank, arrange, explain.
//
// It degrades and never fails a page: without a release it answers what is popular, behind the log it answers from the state
// it has, and says so in every answer. Hard filters (country, availability window, maturity, entitlement, what the catalogue does
// not know) hold on every one of those steps, and what is unknown is excluded.
package serving

import (
	"context"
	"iter"

	"marquee/catalog/changes"
	"marquee/training/model"
)

// TitleReader is the catalogue as serving follows it.
type TitleReader interface {
	// Revision grows with every change of the catalogue.
	Revision() int64
	// All gives the titles, at Revision or later, in any order.
	All() iter.Seq[*changes.Title]
}

// EntitlementReader says what a profile's subscription covers.
type EntitlementReader interface {
	// Entitlement is asked once a request. While it fails nothing is shown: what is unknown is excluded.
	Entitlement(ctx context.Context, profileID string) (Entitlement, error)
}

// Entitlement is a set of titles that may be played.
type Entitlement struct {
	// Key names the set: two entitlements with one key cover the same titles of one catalogue revision, so that what
	// Covers says is asked once and kept. Empty: never kept.
	Key string
	// Covers says whether a title is in the set. Nil: every title is.
	Covers func(titleID string) bool
}

// OpenAccess entitles every profile to every title: for a service that sells nothing.
type OpenAccess struct{}

// Entitlement covers every title.
func (OpenAccess) Entitlement(context.Context, string) (Entitlement, error) {
	return Entitlement{}, nil
}

// ReleaseSource is where releases come from.
type ReleaseSource interface {
	// Current names the release to serve; "" while none was promoted.
	Current(ctx context.Context) (string, error)
	// Open opens a release by its name. The caller ends the reference it gets.
	Open(ctx context.Context, id string) (*model.Bundle, error)
}

// The steps of degradation that answers report.
const (
	// ModelUnavailable: no release is loaded, or it could not be asked.
	ModelUnavailable = "model_unavailable"
	// RankerUnavailable: the release's ranker could not be asked, and its vectors alone put titles in order.
	RankerUnavailable = "ranker_unavailable"
	// TowerUnavailable: the release's towers could not be asked, and offered nothing.
	TowerUnavailable = "tower_unavailable"
	// StateStale: the answer may lack the profile's latest events.
	StateStale = "state_stale"
	// EntitlementUnavailable: nobody could say what the subscription covers, so nothing was shown.
	EntitlementUnavailable = "entitlement_unavailable"
	// TitleNotInModel: the title is too new for the release; its content was compared instead.
	TitleNotInModel = "title_not_in_model"
	// SourceLate, with a source after it, as in source_late:trending: it was left out for want of time.
	SourceLate = "source_late:"
)
