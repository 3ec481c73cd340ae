package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"marquee/training/als"
	"marquee/training/dataset"
	"marquee/training/nightly"
)

type trainCommands struct {
	ALS trainALSCommand `cmd:"" name:"als" help:"Implicit-feedback matrix factorization by alternating least squares."`
}

type trainALSCommand struct {
	Snapshot string `help:"Feature snapshot to train on; the newest when not given." placeholder:"ID"`
	JSON     bool   `help:"Print JSON."`
}

// Run trains on a snapshot and publishes a release, which models promote puts in use.
func (t trainALSCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	x, err := dataset.Load(c.ctx, e.lake, t.Snapshot)
	if err != nil {
		return err
	}
	hash, err := snapshotHash(c.ctx, e, x.Snapshot)
	if err != nil {
		return err
	}
	titles, err := catalogueTitles(c.ctx, e.warehouse.Conn())
	if err != nil {
		return err
	}
	described, err := nightly.Describe(titles)
	if err != nil {
		return err
	}
	bar := newProgress(c.stderr, e.log, "epochs", int64(e.settings.Training.ALS.Epochs))
	dir, m, err := nightly.BuildRelease(c.ctx, x, nightly.Recipe{ALS: e.settings.Training.ALS}, nightly.ReleaseOptions{
		Staging: e.scratch("staging"), Version: buildVersion(), HalfLife: e.settings.Training.Nightly.PopularityHalfLife,
		Described: described,
		Index:     e.settings.Training.Nightly.Index,
		Snapshot:  nightly.Snapshot{ID: x.Snapshot, AsOf: time.UnixMicro(x.AsOf).UTC(), Hash: hash},
		Progress:  func(p als.Progress) { bar.set(int64(p.Epoch)) },
	})
	bar.end()
	if err != nil {
		return err
	}
	id, err := e.registry.Publish(c.ctx, dir)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	if t.JSON {
		return printJSON(c.stdout, m)
	}
	fmt.Fprintf(c.stdout, "published %s: %d titles, %d profiles, %d interactions, as of %s\nput it in use with: marquee models promote %s\n",
		id, m.Titles, m.Profiles, m.Interactions, m.AsOf.Format(time.RFC3339), id)
	return nil
}
