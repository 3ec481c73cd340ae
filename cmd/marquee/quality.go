package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"marquee/features/quality"
	"marquee/training/model"
)

// qualityGate is the checker as the nightly run uses it.
type qualityGate struct{ checker *quality.Checker }

// CheckQuality checks, and returns what a release records of it.
func (g qualityGate) CheckQuality(ctx context.Context, asOf time.Time) (*model.Quality, error) {
	r, err := g.checker.Check(ctx, asOf)
	if err != nil {
		return nil, err
	}
	q := &model.Quality{}
	for _, c := range r.Checks {
		q.Checks = append(q.Checks, model.QualityCheck{
			Name: c.Name, Status: string(c.Status), Unit: c.Unit, Measured: c.Measured, Usual: c.Usual, Low: c.Low, High: c.High, Note: c.Note,
		})
	}
	return q, nil
}

func printOverruled(c *console, q *model.Quality) {
	if q == nil {
		return
	}
	for _, o := range q.Overruled {
		reason := o.Reason
		if reason == "" {
			reason = "no reason given"
		}
		fmt.Fprintf(c.stdout, "data quality: %s failed and was accepted by %s on %s at %s: %s\n", o.Check, o.By, o.Host, o.At.Format(time.RFC3339), reason)
	}
}

var errUnfit = errors.New("the data are not fit to train on; nightly would refuse them")

type featuresCheckCommand struct {
	AsOf asOf   `help:"An RFC 3339 instant, or max-event for the time of the last event; the wall clock when not given." placeholder:"T"`
	Show string `help:"Show this check's days." placeholder:"CHECK"`
	JSON bool   `help:"Print JSON."`
}

// Run checks and prints; a check that fails is exit code 1.
func (f featuresCheckCommand) Run(c *console) (err error) {
	if f.Show != "" && !slices.Contains(quality.Names(), f.Show) {
		return usageError{fmt.Errorf("there is no data-quality check %q to show: they are %s", f.Show, strings.Join(quality.Names(), ", "))}
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	at, err := f.AsOf.instant(func() (time.Time, error) { return e.builder().MaxEvent(c.ctx) })
	if err != nil {
		return err
	}
	r, err := e.quality.Check(c.ctx, at)
	if err != nil {
		return err
	}
	if f.JSON {
		err = printJSON(c.stdout, r)
	} else {
		err = f.print(c, r)
	}
	if err == nil && !r.Passed {
		return errUnfit
	}
	return err
}

func (f featuresCheckCommand) print(c *console, r *quality.Report) error {
	fmt.Fprintf(c.stdout, "the 24 hours up to %s, against %d days before\n", r.AsOf.Format(time.RFC3339), r.HistoryDays)
	if r.Note != "" {
		fmt.Fprintln(c.stdout, r.Note)
	}
	if f.Show != "" {
		i := slices.IndexFunc(r.Checks, func(check quality.Check) bool { return check.Name == f.Show })
		return printDays(c, r.AsOf, r.Checks[i])
	}
	var rows [][]string
	for _, check := range r.Checks {
		low, high := "", ""
		if check.Status != quality.NotCompared {
			low, high = check.Format(check.Low), check.Format(check.High)
		}
		rows = append(rows, []string{check.Name, string(check.Status), check.Format(check.Measured), low, high, check.Note})
	}
	return printTable(c.stdout, []string{"CHECK", "STATUS", "MEASURED", "LEAST", "MOST", "NOTE"}, rows)
}

// printDays shows what a check was held against.
func printDays(c *console, asOf time.Time, check quality.Check) error {
	fmt.Fprintf(c.stdout, "%s: %s\n", check.Status, check)
	var rows [][]string
	for i, day := range check.Days {
		until := asOf.AddDate(0, 0, -i)
		row := []string{until.Format("Mon 2006-01-02 15:04"), strconv.FormatUint(day.Events, 10)}
		if check.Unit == "share" {
			share := ""
			if day.Of > 0 {
				share = check.Format(float64(day.Events) / float64(day.Of))
			}
			row = append(row, strconv.FormatUint(day.Of, 10), share)
		}
		rows = append(rows, row)
	}
	header := []string{"24 HOURS UP TO", "EVENTS"}
	if check.Unit == "share" {
		header = append(header, "OF", "SHARE")
	}
	return printTable(c.stdout, header, rows)
}
