package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"marquee/eval/simulator"
	"marquee/eval/simulator/logfile"
	"marquee/ingest/watchevent"
)

type simulateCommand struct {
	Out      string    `help:"Write log and truth as Parquet files into this folder." placeholder:"DIR" xor:"to" required:""`
	Service  string    `help:"Let the viewers use the service at this URL." placeholder:"URL" xor:"to" required:""`
	Titles   int       `help:"Simulated titles." default:"800"`
	Viewers  int       `help:"Simulated viewers." default:"2000"`
	Sessions float64   `help:"Mean number of a viewer's sessions." default:"14"`
	Days     int       `help:"Days they take." default:"28"`
	End      time.Time `help:"When they end, such as 2026-03-01T00:00:00Z; now when not given." placeholder:"TIME"`
	Seed     uint64    `help:"Seed of the simulated world." default:"1"`
	Workers  int       `help:"Viewers at a time; one a processor when not given. What they do does not hang on it."`
	JSON     bool      `help:"Print JSON."`
}

// Run simulates.
func (s simulateCommand) Run(c *console) error {
	if s.Days < 1 || s.Workers < 0 {
		return usageError{errors.New("--days must be 1 or more and --workers 0 or more")}
	}
	end := s.End.UTC()
	if s.End.IsZero() {
		end = time.Now().UTC().Truncate(time.Second)
	}
	world, err := simulator.New(simulator.Config{
		Seed: s.Seed, Titles: s.Titles, Viewers: s.Viewers, SessionsPerViewer: s.Sessions, Start: end.AddDate(0, 0, -s.Days), End: end,
	})
	if err != nil {
		return usageError{err}
	}
	if s.Workers == 0 {
		s.Workers = runtime.GOMAXPROCS(0)
	}
	if s.Service != "" {
		// Events of longer ago count as of a client whose clock is wrong.
		if oldest := time.Now().Add(-watchevent.MaxBehind); world.Config().Start.Before(oldest) {
			return usageError{fmt.Errorf("a service takes events of the last %d days, and these viewers begin on %s: give a later --end or fewer --days",
				int(watchevent.MaxBehind.Hours()/24), world.Config().Start.Format(time.DateOnly))}
		}
		return s.visit(c, world)
	}
	return s.write(c, world)
}

func (s simulateCommand) write(c *console, world *simulator.World) error {
	_, log, err := c.begin()
	if err != nil {
		return err
	}
	bar := newProgress(c.stderr, log, "viewers", int64(world.Viewers()))
	sum, err := logfile.Write(c.ctx, s.Out, world, world.ByExposure(), s.Workers, func(n int) { bar.set(int64(n)) })
	bar.end()
	if err != nil {
		return err
	}
	if s.JSON {
		return printJSON(c.stdout, sum)
	}
	_, err = fmt.Fprintf(c.stdout, `%d events of %d viewers and %d titles, %d slates with %d clicks, in %s
To import them:
  marquee import titles %[6]s/%[7]s --preset marquee-titles
  marquee import events %[6]s/%[8]s --preset marquee-events
`, sum.Events, sum.Viewers, sum.Titles, sum.Slates, sum.Clicks, s.Out, logfile.Titles, logfile.Events)
	return err
}
