package nightly

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"marquee/training/model"
)

// The statuses of a check, as the gate reports them.
const qualityFailed = "failed"

// AcceptAll as a check's name overrules every check that fails.
const AcceptAll = "all"

// Acceptance overrules checks of the data's quality, and says who does.
type Acceptance struct {
	// Checks are names of checks, or AcceptAll.
	Checks []string
	// By is the user, Host the machine; Reason is in the user's words.
	By, Host, Reason string
}

func (a Acceptance) accepts(check string) bool {
	return slices.Contains(a.Checks, check) || slices.Contains(a.Checks, AcceptAll)
}

// QualityError says which checks the data failed and nobody overruled.
type QualityError struct {
	AsOf   time.Time
	Failed []model.QualityCheck
}

func (e *QualityError) Error() string {
	lines := make([]string, len(e.Failed))
	flags := make([]string, len(e.Failed))
	for i, c := range e.Failed {
		lines[i], flags[i] = describeCheck(c), "--accept "+c.Name
	}
	at := e.AsOf.UTC().Format(time.RFC3339Nano)
	return fmt.Sprintf("the data are not fit to train on:\n  %s\nlook closer with: marquee features check --as-of %s --show %s\n"+
		"or overrule with: marquee nightly --as-of %s %s --reason '…'", strings.Join(lines, "\n  "), at, e.Failed[0].Name, at, strings.Join(flags, " "))
}

// summary is that of a run which ended there.
func (e *QualityError) summary(b *begun) *Summary {
	s := &Summary{AsOf: e.AsOf, Protocol: Protocol, Metrics: map[string]map[string]float64{}, Comparisons: []Comparison{}, Quality: b.quality}
	for _, c := range e.Failed {
		s.Gate.Reasons = append(s.Gate.Reasons, "data quality: "+describeCheck(c))
	}
	return s
}

func describeCheck(c model.QualityCheck) string {
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + " events" }
	if c.Unit == "share" {
		format = func(v float64) string { return strconv.FormatFloat(100*v, 'f', 2, 64) + "% of the events" }
	}
	text := fmt.Sprintf("%s: %s, allowed are %s to %s", c.Name, format(c.Measured), format(c.Low), format(c.High))
	if c.Note != "" {
		return text + " (" + c.Note + ")"
	}
	return text
}

// checkQuality lets a run go on whose data pass or are accepted, and records which. A run that goes on with features that were built
// keeps what was found of them. What was accepted at an instant stays accepted for that instant.
func (p *Pipeline) checkQuality(ctx context.Context, b *begun) error {
	if p.Quality == nil || b.built != nil && b.quality != nil {
		return nil
	}
	p.report("quality")
	q, err := p.Quality.CheckQuality(ctx, b.asOf)
	if err != nil {
		return fmt.Errorf("check the data: %w", err)
	}
	earlier, err := b.overruledBefore(ctx)
	if err != nil {
		return err
	}
	refused := &QualityError{AsOf: b.asOf}
	for _, c := range q.Checks {
		if c.Status != qualityFailed {
			continue
		}
		i := slices.IndexFunc(earlier, func(o model.Overrule) bool { return o.Check == c.Name })
		switch {
		case i >= 0:
			q.Overruled = append(q.Overruled, earlier[i])
		case p.Accept.accepts(c.Name):
			q.Overruled = append(q.Overruled, model.Overrule{
				Check: c.Name, By: p.Accept.By, Host: p.Accept.Host, Reason: p.Accept.Reason, At: time.Now().UTC().Truncate(time.Second),
			})
			p.Log.Warn("data quality overruled", "check", describeCheck(c), "by", p.Accept.By, "host", p.Accept.Host, "reason", p.Accept.Reason)
		default:
			refused.Failed = append(refused.Failed, c)
		}
	}
	b.quality = q
	if err := b.write(ctx, 0); err != nil {
		return err
	}
	if len(refused.Failed) > 0 {
		return refused
	}
	return nil
}

// overruledBefore are the overrules that the last run at this instant recorded.
func (b *begun) overruledBefore(ctx context.Context) ([]model.Overrule, error) {
	var row runRow
	err := b.database.NewSelect().Model(&row).Where("as_of = ? AND quality <> ''", b.asOf.UnixMicro()).Order("token DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for what was accepted before: %w", err)
	}
	q, err := row.readQuality()
	if err != nil || q == nil {
		return nil, err
	}
	return q.Overruled, nil
}

func (r *runRow) readQuality() (*model.Quality, error) {
	if r.Quality == "" {
		return nil, nil
	}
	q := &model.Quality{}
	if err := json.Unmarshal([]byte(r.Quality), q); err != nil {
		return nil, fmt.Errorf("the recorded data quality of run %d cannot be read: %w", r.Token, err)
	}
	return q, nil
}
