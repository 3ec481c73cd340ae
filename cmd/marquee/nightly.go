package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"marquee/features/quality"
	"marquee/internal/app"
	"marquee/serving/state"
	"marquee/training/nightly"
)

type nightlyCommand struct {
	AsOf   asOf     `help:"An RFC 3339 instant, or max-event for the time of the last event; the wall clock when not given." placeholder:"T"`
	Accept []string `help:"Train although this data-quality check fails, or although any does: all. Recorded with the run. Repeatable." placeholder:"CHECK" sep:"none"`
	Reason string   `help:"Why a failed check is accepted: recorded with it." placeholder:"TEXT"`
	JSON   bool     `help:"Print JSON."`
}

// The exit code says what the summary says.
var (
	errRefused   = errors.New("the gate refused the release; the one before stays in use")
	errTakenBack = errors.New("this run's release was promoted and taken back by hand; it is not promoted again")
)

// Run makes one nightly run and prints what came of it.
func (n nightlyCommand) Run(c *console) (err error) {
	accept, err := n.acceptance()
	if err != nil {
		return err
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.drainLog(c.ctx); err != nil {
		return err
	}
	// The zero time is the wall clock, at which a run goes on with an interrupted one's instant.
	at := n.AsOf.at
	if n.AsOf.maxEvent {
		if at, err = e.builder().MaxEvent(c.ctx); err != nil {
			return err
		}
	}
	summary, err := e.nightly(c, at, accept)
	if summary == nil {
		return err
	}
	if refused := (*nightly.QualityError)(nil); errors.As(err, &refused) {
		return errors.Join(n.print(c, summary), err)
	}
	// Any other error beside a summary is of a run that was decided and could not tidy up after itself.
	return errors.Join(err, n.print(c, summary), outcome(summary))
}

// acceptance is what the flags overrule, in the name of who runs this.
func (n nightlyCommand) acceptance() (nightly.Acceptance, error) {
	a := nightly.Acceptance{Checks: n.Accept, Reason: n.Reason}
	valid := append([]string{nightly.AcceptAll}, quality.Names()...)
	for _, name := range n.Accept {
		if !slices.Contains(valid, name) {
			return a, usageError{fmt.Errorf("there is no data-quality check %q to accept: they are %s", name, strings.Join(valid, ", "))}
		}
	}
	if n.Reason != "" && len(n.Accept) == 0 {
		return a, usageError{errors.New("--reason says why a check is accepted: give --accept too")}
	}
	if len(n.Accept) == 0 {
		return a, nil
	}
	var err error
	if a.Host, err = os.Hostname(); err != nil {
		return a, fmt.Errorf("name this machine for the record: %w", err)
	}
	a.By = userName()
	return a, nil
}

// userName is who runs this process: by name, or where the machine knows none, by number.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

func (n nightlyCommand) print(c *console, s *nightly.Summary) error {
	if n.JSON {
		return printJSON(c.stdout, s)
	}
	return printSummary(c, s)
}

func outcome(s *nightly.Summary) error {
	switch {
	case s.Promoted:
		return nil
	case s.Gate.Pass:
		return errTakenBack
	}
	return errRefused
}

// nightly makes one run on open engines.
func (e *engines) nightly(c *console, at time.Time, accept nightly.Acceptance) (*nightly.Summary, error) {
	if err := nightly.Migrate(c.ctx, e.db); err != nil {
		return nil, err
	}
	p := &nightly.Pipeline{
		Config: e.settings.Training.Nightly, Recipe: e.settings.Training.recipe(),
		DB: e.db, Lake: e.lake, Features: snapshots{e.builder()}, Registry: e.registry.As("nightly"),
		Quality: qualityGate{e.quality}, Accept: accept, Catalogue: catalogue{e.warehouse.Conn()},
		Staging: e.scratch("staging"), Version: buildVersion(), Log: e.log,
	}
	var bar *progress
	p.Progress = func(step string, done, total int64) {
		if done == 0 || bar == nil {
			if bar != nil {
				bar.end()
			}
			bar = newProgress(c.stderr, e.log, step, total)
		}
		bar.set(done)
	}
	s, err := p.Run(c.ctx, at)
	if bar != nil {
		bar.end()
	}
	return s, err
}

// drainLog waits until everything that is on the broker is in the warehouse and the lake, with a consumer of this
// process's own beside those that run elsewhere.
func (e *engines) drainLog(ctx context.Context) (err error) {
	w, err := wire(e, state.WallClock{}, []string{"ingest", "features"})
	if err != nil {
		return err
	}
	group := app.NewGroup(e.log, e.settings.Drain, w.modules...)
	if err := group.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Stop()) }()
	return errors.Join(w.consumer.CaughtUp(ctx), w.titles.CaughtUp(ctx))
}

func printSummary(c *console, s *nightly.Summary) error {
	if s.Bundle == "" {
		fmt.Fprintf(c.stdout, "refused before training, as of %s: the data failed %d checks\n", s.AsOf.Format(time.RFC3339), len(s.Gate.Reasons))
		return nil
	}
	verdict := "promoted"
	if !s.Promoted {
		verdict = "refused"
	}
	fmt.Fprintf(c.stdout, "release %s as of %s: %s\n", s.Bundle, s.AsOf.Format(time.RFC3339), verdict)
	for _, reason := range s.Gate.Reasons {
		fmt.Fprintf(c.stdout, "  %s\n", reason)
	}
	printOverruled(c, s.Quality)
	fmt.Fprintf(c.stdout, "protocol %s, cut at %s, %d profiles\n\n", s.Protocol, s.CutAt.Format(time.RFC3339), s.Users)
	var names []string
	for _, metrics := range s.Metrics {
		for name := range metrics {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var rows [][]string
	for _, model := range []string{"als", "towers", "hybrid", "popular", "popular_decayed", "incumbent"} {
		if metrics, ok := s.Metrics[model]; ok {
			row := []string{model}
			for _, name := range names {
				row = append(row, fmt.Sprintf("%.4f", metrics[name]))
			}
			rows = append(rows, row)
		}
	}
	if err := printTable(c.stdout, append([]string{"MODEL"}, upper(names)...), rows); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	for _, x := range s.Comparisons {
		d := x.Difference
		fmt.Fprintf(c.stdout, "als against %s: NDCG@10 %+.4f, %.0f%% interval %+.4f to %+.4f\n", x.Against, d.Mean, 100*d.Level, d.Low, d.High)
		if x.Note != "" {
			fmt.Fprintf(c.stdout, "  %s\n", x.Note)
		}
	}
	if r := s.Ranker; r != nil {
		fmt.Fprintf(c.stdout, "ranker over all sources, of %d windows: %s\n", r.Windows, r.Reason)
	}
	if t := s.Towers; t != nil {
		fmt.Fprintf(c.stdout, "towers, trained in %.1f s: %s\n", t.Seconds, t.Reason)
		if d := t.BesideALS; d != nil {
			fmt.Fprintf(c.stdout, "  against als: NDCG@10 %+.4f, %.0f%% interval %+.4f to %+.4f\n", d.Difference.Mean, 100*d.Difference.Level, d.Difference.Low, d.Difference.High)
		}
	}
	printBeginning(c, s.Beginning)
	if len(s.Resumed) > 0 {
		fmt.Fprintf(c.stdout, "taken from an earlier run of the same: %s\n", strings.Join(s.Resumed, ", "))
	}
	return nil
}

// printBeginning says what the release was trained from.
func printBeginning(c *console, b nightly.Beginning) {
	if !b.Warm {
		fmt.Fprintf(c.stdout, "begun cold: %s\n", b.Reason)
		return
	}
	fmt.Fprintf(c.stdout, "begun warm, from release %s: %d titles carried over", b.From, b.Titles)
	if b.Towers > 0 {
		fmt.Fprintf(c.stdout, ", %d by the towers", b.Towers)
	}
	if b.Reason != "" {
		fmt.Fprintf(c.stdout, "; %s", b.Reason)
	}
	fmt.Fprintln(c.stdout)
}

func upper(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ToUpper(n)
	}
	return out
}
