package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"marquee/features/snapshot"
	"marquee/training/adopt"
	"marquee/training/dataset"
	"marquee/training/model"
	"marquee/training/nightly"
)

type modelsImportCommand struct {
	Role     string `help:"What it is: user-tower, title-tower or ranker." enum:"user-tower,title-tower,ranker" required:""`
	File     string `arg:"" help:"The model as an ONNX file." type:"existingfile"`
	Samples  string `help:"JSON lines: inputs with the outputs that the model gave for them where it was made." type:"existingfile" required:"" placeholder:"FILE"`
	Into     string `help:"The release that it is put into a copy of; the one in use when not given." placeholder:"ID"`
	Unjudged bool   `help:"Do not measure towers by the release's events, such as when its features are gone."`
	JSON     bool   `help:"Print JSON."`
}

// importedModel is what the command prints as JSON.
type importedModel struct {
	Bundle  string                 `json:"bundle"`
	From    string                 `json:"from"`
	Role    string                 `json:"role"`
	Samples adopt.Report           `json:"samples"`
	Towers  *nightly.TowersVerdict `json:"towers,omitempty"`
}

// Run checks a model, puts it into a copy of a release and publishes that, without putting it in use.
func (m modelsImportCommand) Run(c *console) (err error) {
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out := importedModel{Role: m.Role, From: m.Into}
	if out.From == "" {
		current, err := e.registry.Current(c.ctx)
		if err != nil {
			return err
		}
		if out.From = current.ID; out.From == "" {
			return errors.New("no release is in use to put the model into: run `marquee nightly` first, or name one with --into")
		}
	}
	staging := filepath.Join(e.scratch("staging"), fmt.Sprintf("import-%d", os.Getpid()))
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	dir, err := m.take(c.ctx, e, staging, &out)
	if err != nil {
		return err
	}
	if out.Bundle, err = e.registry.Publish(c.ctx, dir); err != nil {
		return err
	}
	if m.JSON {
		return printJSON(c.stdout, out)
	}
	fmt.Fprintf(c.stdout, "published %s: release %s with this %s; %d samples agree, the worst to %.1g\n", out.Bundle, out.From, m.Role, out.Samples.Samples, out.Samples.Worst)
	if out.Towers != nil {
		fmt.Fprintf(c.stdout, "%s; where it was made it may have seen the events that it was judged by\n", out.Towers.Reason)
	} else {
		fmt.Fprintln(c.stdout, "not judged by events")
	}
	fmt.Fprintf(c.stdout, "put it in use with: marquee models promote %s\n", out.Bundle)
	return nil
}

// take makes the release in the staging folder.
func (m modelsImportCommand) take(ctx context.Context, e *engines, staging string, out *importedModel) (_ string, err error) {
	release, err := e.registry.Fetch(ctx, out.From, filepath.Join(staging, "before"))
	if err != nil {
		return "", err
	}
	file, err := os.ReadFile(m.File)
	if err != nil {
		return "", err
	}
	samples, err := os.Open(m.Samples)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, samples.Close()) }()
	r := adopt.Request{
		Role: m.Role, Model: file, Samples: samples, Release: release, Staging: staging, BuildIndex: nightly.IndexBuilder(e.settings.Training.Nightly.Index),
	}
	if m.Role != model.RankerRole && !m.Unjudged {
		r.Judge = func(ctx context.Context, b *model.Bundle) (map[string]map[string]float64, error) {
			x, err := dataset.Load(ctx, e.lake, b.Manifest().Snapshot.ID)
			if errors.Is(err, snapshot.ErrNotFound) {
				return nil, fmt.Errorf("the features that the release was trained on are gone, so it cannot be judged by them: give --unjudged to import it all the same: %w", err)
			}
			if err != nil {
				return nil, err
			}
			metrics, verdict, err := nightly.JudgeImported(ctx, b, x, e.settings.Training.Nightly)
			out.Towers = verdict
			return metrics, err
		}
	}
	dir, _, report, err := adopt.Take(ctx, r)
	out.Samples = report
	return dir, err
}
