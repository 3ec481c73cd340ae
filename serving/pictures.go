package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"marquee/serving/ids"
	"marquee/serving/retrieve"
	"marquee/serving/slot"
	"marquee/serving/view"
	"marquee/training/model"
)

// pictures keeps the current picture: it follows the catalogue and the promoted release, and swaps a new picture in when
// either changes. Requests hold the picture they began with to their end.
type pictures struct {
	slot    slot.Slot[*retrieve.Picture]
	cfg     Config
	titles  TitleReader
	source  ReleaseSource
	ids     *ids.Table
	log     *slog.Logger
	metrics *metrics
	// kick asks run for a refresh at once; what it carries is closed when that is done. stopped is closed when run ends.
	kick    chan chan struct{}
	stopped chan struct{}

	// Only refresh touches what follows.
	bundle   *model.Bundle
	refused  string
	revision int64
	built    bool
}

// run follows both until the context ends.
func (p *pictures) run(ctx context.Context) {
	defer close(p.stopped)
	catalog := time.NewTicker(p.cfg.CatalogRefresh)
	defer catalog.Stop()
	release := time.NewTicker(p.cfg.ReleasePoll)
	defer release.Stop()
	var notBefore time.Time
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-release.C:
			changed = p.loadRelease(ctx)
		case <-catalog.C:
			changed = time.Now().After(notBefore)
		case done := <-p.kick:
			p.refresh()
			close(done)
		}
		if changed {
			began := time.Now()
			p.refresh()
			// A catalogue that changes all the time must not take more than a tenth of a processor.
			notBefore = time.Now().Add(10 * time.Since(began))
		}
	}
}

// catchUp returns when the picture shows the catalogue as it was at the call.
func (p *pictures) catchUp(ctx context.Context) error {
	held := p.slot.Acquire()
	if held != nil {
		shown := held.Value.Revision()
		held.Release()
		if shown >= p.titles.Revision() {
			return nil
		}
	}
	done := make(chan struct{})
	select {
	case p.kick <- done:
		<-done
		return nil
	case <-p.stopped:
		return errors.New("stopped")
	case <-ctx.Done():
		return fmt.Errorf("the catalogue is being read: %w", ctx.Err())
	}
}

// loadRelease opens the promoted release if it is another than the one in use, and reports whether it did. One that
// cannot be opened is refused, and what was in use stays in use.
func (p *pictures) loadRelease(ctx context.Context) bool {
	id, err := p.source.Current(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.metrics.releaseFailures.WithLabelValues("unknown").Inc()
			p.log.Warn("which release is promoted cannot be asked for", "error", err)
		}
		return false
	}
	if id == "" || p.bundle != nil && p.bundle.ID() == id {
		return false
	}
	bundle, err := p.open(ctx, id)
	if err != nil {
		p.metrics.releaseFailures.WithLabelValues("refused").Inc()
		if reason := id + ": " + err.Error(); reason != p.refused && ctx.Err() == nil {
			p.refused = reason
			p.log.Error("release refused", "release", id, "in_use", p.inUse(), "error", err)
		}
		return false
	}
	p.log.Info("release loaded", "release", id, "before", p.inUse(), "titles", bundle.Len(), "as_of", bundle.Manifest().AsOf)
	if _, err := bundle.Ranks(); err != nil {
		p.log.Warn("the release's ranker cannot be asked: its vectors alone put titles in order", "release", id, "error", err)
	}
	if _, err := bundle.HasTowers(); err != nil {
		p.log.Warn("the release's towers cannot be asked: the other sources find titles without them", "release", id, "error", err)
	}
	p.letGo()
	p.bundle, p.refused, p.built = bundle, "", false
	return true
}

func (p *pictures) open(ctx context.Context, id string) (*model.Bundle, error) {
	bundle, err := p.source.Open(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("open the release: %w", err)
	}
	if bundle.ID() != id {
		return nil, errors.Join(fmt.Errorf("the release at %s calls itself %s", id, bundle.ID()), bundle.Release())
	}
	return bundle, nil
}

func (p *pictures) inUse() string {
	if p.bundle == nil {
		return ""
	}
	return p.bundle.ID()
}

// refresh builds a new picture when the catalogue or the release changed since the last.
func (p *pictures) refresh() {
	revision := p.titles.Revision()
	if p.built && revision == p.revision {
		return
	}
	began := time.Now()
	picture, free, err := p.build(revision)
	if err != nil {
		p.log.Error("the catalogue picture cannot be built", "revision", revision, "release", p.inUse(), "error", err)
		return
	}
	p.slot.Swap(slot.New(picture, free))
	p.revision, p.built = revision, true
	p.metrics.picture(p.inUse(), picture, time.Since(began))
	p.log.Debug("catalogue picture built", "revision", revision, "titles", picture.Len(), "release", p.inUse(), "took", time.Since(began))
}

// build makes a picture, and says how to let go of it.
func (p *pictures) build(revision int64) (*retrieve.Picture, func(), error) {
	bundle := p.bundle
	if bundle == nil {
		picture, err := retrieve.NewPicture(view.Build(revision, p.titles.All(), nil, p.ids), nil)
		return picture, func() {}, err
	}
	bundle.Acquire() // p holds a reference, so it cannot be gone
	var before *retrieve.Picture
	if held := p.slot.Acquire(); held != nil {
		defer held.Release()
		before = held.Value
	}
	picture, err := retrieve.NewPictureAfter(before, view.Build(revision, p.titles.All(), bundle, p.ids), bundle)
	if err != nil {
		p.release(bundle)
	}
	return picture, func() { p.release(bundle) }, err
}

func (p *pictures) release(b *model.Bundle) {
	if err := b.Release(); err != nil {
		p.log.Error("closing a release failed", "release", b.ID(), "error", err)
	}
}

func (p *pictures) letGo() {
	if p.bundle != nil {
		p.release(p.bundle)
		p.bundle = nil
	}
}

// close gives up the current picture and release. Requests that hold them still may finish.
func (p *pictures) close() {
	p.slot.Swap(nil)
	p.letGo()
}
