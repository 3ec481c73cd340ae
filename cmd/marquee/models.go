package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"marquee/features/snapshot"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/registry"
)

type modelsCommands struct {
	List     modelsListCommand     `cmd:"" help:"List releases, the newest first."`
	Show     modelsShowCommand     `cmd:"" help:"Show a release."`
	Promote  modelsPromoteCommand  `cmd:"" help:"Put a release in use."`
	Import   modelsImportCommand   `cmd:"" help:"Put a model that was made elsewhere into a copy of a release."`
	Rollback modelsRollbackCommand `cmd:"" help:"Put the release that was in use before back in use."`
}

// snapshotHash is the checksum of the SQL that a snapshot's interactions were built by.
func snapshotHash(ctx context.Context, e *engines, id string) (string, error) {
	set, err := snapshot.Open(ctx, e.lake, dataset.InteractionSet, id)
	if err != nil {
		return "", err
	}
	return set.SQLSHA256, nil
}

type listedRelease struct {
	model.Manifest
	Current bool `json:"current"`
}

type modelsListCommand struct {
	JSON bool `help:"Print JSON."`
}

// Run lists releases.
func (m modelsListCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	list, err := e.registry.List(c.ctx)
	if err != nil {
		return err
	}
	current, err := e.registry.Current(c.ctx)
	if err != nil {
		return err
	}
	out := make([]listedRelease, len(list))
	rows := make([][]string, len(list))
	for i, r := range list {
		out[i] = listedRelease{r, r.ID == current.ID}
		mark := ""
		if r.ID == current.ID {
			mark = "in use"
		}
		rows[i] = []string{r.ID, r.AsOf.Format(time.RFC3339), strconv.Itoa(r.Titles), strconv.Itoa(r.Dim),
			fmt.Sprintf("%.4f", r.Metrics["als"]["ndcg@10"]), mark}
	}
	if m.JSON {
		return printJSON(c.stdout, out)
	}
	return printTable(c.stdout, []string{"RELEASE", "AS OF", "TITLES", "DIM", "NDCG@10", ""}, rows)
}

type modelsShowCommand struct {
	ID string `arg:"" help:"The release's id."`
}

// Run prints a release's manifest.
func (m modelsShowCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	manifest, err := e.registry.Manifest(c.ctx, m.ID)
	if err != nil {
		return err
	}
	return printJSON(c.stdout, manifest)
}

type modelsPromoteCommand struct {
	ID     string `arg:"" help:"The release's id."`
	Reason string `help:"Why, for the record." default:"by hand"`
}

// Run promotes a release.
func (m modelsPromoteCommand) Run(c *console) error {
	return changeRelease(c, m.Reason, func(e *engines, a registry.Author) (registry.Current, error) {
		if err := e.registry.Verify(c.ctx, m.ID); err != nil {
			return registry.Current{}, fmt.Errorf("promote release %s: %w", m.ID, err)
		}
		return e.registry.Promote(c.ctx, m.ID, a)
	})
}

type modelsRollbackCommand struct {
	Reason string `help:"Why, for the record." default:"by hand"`
}

// Run goes back to the release before.
func (m modelsRollbackCommand) Run(c *console) error {
	return changeRelease(c, m.Reason, func(e *engines, a registry.Author) (registry.Current, error) {
		return e.registry.Rollback(c.ctx, a)
	})
}

// changeRelease changes the release in use under the lease that nightly runs hold too, so that the two never cross.
func changeRelease(c *console, reason string, change func(*engines, registry.Author) (registry.Current, error)) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	by := operator()
	lease, err := e.db.AcquireLease(c.ctx, "nightly", fmt.Sprintf("%s, process %d", by, os.Getpid()), e.settings.Training.Nightly.LeaseTTL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(c.ctx))) }()
	current, err := change(e, registry.Author{By: by, Reason: reason, Token: lease.Token()})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "in use: %s\n", current.ID)
	return nil
}

// operator is who runs the command, for the record of changes.
func operator() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", os.Getuid())
}
