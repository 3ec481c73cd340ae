package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	"marquee/eval/simulator"
	ingestv1 "marquee/ingest/v1"
	"marquee/internal/datadir"
	"marquee/serving/state"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
	"marquee/training/nightly"
)

// What the demo counts as loved: a title among this share of the catalogue by the viewer's true taste.
const (
	lovedShare = 0.1
	demoPicks  = 10
)

type demoCommand struct {
	Titles  int    `help:"Simulated titles." default:"800"`
	Viewers int    `help:"Simulated viewers." default:"2000"`
	Seed    uint64 `help:"Seed of the simulated world." default:"1"`
	Listen  string `help:"host:port to listen on." placeholder:"ADDRESS"`
	Exit    bool   `help:"End after the summary instead of serving on."`
	JSON    bool   `help:"Print the summary as JSON."`
}

// demoSummary is what the demo found out.
type demoSummary struct {
	Titles   int              `json:"titles"`
	Viewers  int              `json:"viewers"`
	Events   int              `json:"events"`
	Address  string           `json:"address"`
	Nightly  *nightly.Summary `json:"nightly"`
	Asked    int              `json:"asked"`
	TopPicks float64          `json:"top_picks_hit_rate"`
	Popular  float64          `json:"popular_hit_rate"`
	Chance   float64          `json:"chance_hit_rate"`
}

// demo is a demo under way. Everything it does to the service goes through the public RPC.
type demo struct {
	clients
	world *simulator.World
}

// Run makes a simulated world, feeds it to a service, trains, and judges what the service recommends by the viewers' true
// tastes, which nothing but their watch events has told it.
func (d demoCommand) Run(c *console) error {
	if d.Listen != "" {
		c.globals.Set = with(c.globals.Set, "rpc.listen", d.Listen)
	}
	// The world is another one at every call: it has a folder of its own, which begins empty. A folder that was named is
	// somebody's and is left as it is.
	if c.globals.DataDir == "" && os.Getenv("MARQUEE_DATA_DIR") == "" {
		c.globals.DataDir = filepath.Join("data", "demo")
		if err := datadir.Clear(c.globals.DataDir, "marquee demo"); err != nil {
			return err
		}
	}
	end := time.Now().UTC().Truncate(time.Second)
	world, err := simulator.New(simulator.Config{
		Seed: d.Seed, Titles: d.Titles, Viewers: d.Viewers, SessionsPerViewer: 14, Start: end.AddDate(0, 0, -28), End: end,
	})
	if err != nil {
		return usageError{err}
	}
	e, err := c.open(alone)
	if err != nil {
		return err
	}
	svc, err := c.startService(e, state.WallClock{})
	if err != nil {
		return errors.Join(err, e.Close())
	}
	err = d.run(c, svc, world)
	return errors.Join(err, svc.stop(), e.Close())
}

func (d demoCommand) run(c *console, svc *service, world *simulator.World) error {
	address := svc.server.Address()
	m := &demo{clients: newClients(address), world: world}
	if err := svc.group.AwaitReady(c.ctx); err != nil {
		return err
	}
	s := &demoSummary{Titles: len(world.Titles()), Viewers: world.Viewers(), Address: address, Chance: lovedShare}
	e := svc.e
	fmt.Fprintf(c.stderr, "1 of 4  publishing %d simulated titles\n", s.Titles)
	if err := m.publish(c.ctx, world); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "2 of 4  %d simulated viewers watch, for 28 days\n", s.Viewers)
	bar := newProgress(c.stderr, e.log, "viewers", int64(s.Viewers))
	positions, err := m.watch(c.ctx, s, bar)
	bar.end()
	if err != nil {
		return err
	}
	if err := errors.Join(svc.wiring.catalog.Flush(c.ctx), svc.wiring.consumer.CaughtUp(c.ctx), svc.wiring.titles.CaughtUp(c.ctx)); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "3 of 4  nightly: features, train, evaluate, gate, publish\n")
	if s.Nightly, err = e.nightly(c, time.Now().UTC(), nightly.Acceptance{}); err != nil {
		return err
	}
	if !s.Nightly.Promoted {
		return fmt.Errorf("%w: %v", errRefused, s.Nightly.Gate.Reasons)
	}
	fmt.Fprintf(c.stderr, "4 of 4  asking for recommendations\n")
	if err := m.judge(c.ctx, s, positions); err != nil {
		return err
	}
	if d.JSON {
		err = printJSON(c.stdout, s)
	} else {
		err = d.print(c, svc, s)
	}
	if err != nil || d.Exit {
		return err
	}
	svc.wait(c.ctx)
	return nil
}

// watch lets every viewer watch, and returns the last position of each partition.
func (m *demo) watch(ctx context.Context, s *demoSummary, bar *progress) (map[int32]int64, error) {
	last := map[int32]int64{}
	var batch []*ingestv1.WatchEvent
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		resp, err := m.ingest.RecordEvents(ctx, connect.NewRequest(&ingestv1.RecordEventsRequest{Events: batch}))
		if err != nil {
			return fmt.Errorf("record events: %w", err)
		}
		for _, r := range resp.Msg.GetResults() {
			if !r.GetAccepted() {
				return fmt.Errorf("event %s was refused: %v", r.GetEventId(), r.GetViolations())
			}
		}
		for _, p := range resp.Msg.GetPositions() {
			last[p.GetPartition()] = max(last[p.GetPartition()], p.GetOffset())
		}
		s.Events += len(batch)
		batch = batch[:0]
		return nil
	}
	for v := range m.world.Viewers() {
		for e := range m.world.History(v) {
			if batch = append(batch, e); len(batch) == 1000 {
				if err := send(); err != nil {
					return nil, err
				}
			}
		}
		bar.set(int64(v + 1))
	}
	return last, send()
}

// judge asks for viewers' top picks and for what is popular, and counts how much of each they truly love.
func (m *demo) judge(ctx context.Context, s *demoSummary, positions map[int32]int64) error {
	var min []*servingv1.Position
	for partition, offset := range positions {
		min = append(min, &servingv1.Position{Partition: partition, Offset: offset})
	}
	if err := m.awaitRelease(ctx, s.Nightly.Bundle); err != nil {
		return err
	}
	step := max(1, m.world.Viewers()/500)
	for v := 0; v < m.world.Viewers(); v += step {
		loves := m.world.Loves(v, lovedShare)
		picks, err := m.picks(ctx, simulator.ProfileID(v), min)
		if err != nil {
			return err
		}
		// A profile that nobody has seen is answered with what is popular.
		popular, err := m.picks(ctx, fmt.Sprintf("sim:nobody%d", v), nil)
		if err != nil {
			return err
		}
		s.TopPicks += simulator.HitRate(loves, picks)
		s.Popular += simulator.HitRate(loves, popular)
		s.Asked++
	}
	s.TopPicks /= float64(s.Asked)
	s.Popular /= float64(s.Asked)
	return nil
}

// awaitRelease waits until answers come from the release.
func (m *demo) awaitRelease(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		resp, err := m.serving.Recommend(ctx, connect.NewRequest(&servingv1.RecommendRequest{Viewer: &servingv1.Viewer{ProfileId: simulator.ProfileID(0)}}))
		if err != nil {
			return fmt.Errorf("wait for release %s to be served: %w", id, err)
		}
		if resp.Msg.GetBundleId() == id {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("release %s is not served after a minute; %q is", id, resp.Msg.GetBundleId())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (m *demo) picks(ctx context.Context, profile string, min []*servingv1.Position) ([]string, error) {
	resp, err := m.serving.Recommend(ctx, connect.NewRequest(&servingv1.RecommendRequest{
		Viewer: &servingv1.Viewer{ProfileId: profile, Country: "DE"}, Count: demoPicks, MinPosition: min,
	}))
	if err != nil {
		return nil, fmt.Errorf("recommend for %s: %w", profile, err)
	}
	out := make([]string, len(resp.Msg.GetTitles()))
	for i, t := range resp.Msg.GetTitles() {
		out[i] = t.GetTitleId()
	}
	return out, nil
}

func (d demoCommand) print(c *console, svc *service, s *demoSummary) error {
	if err := printSummary(c, s.Nightly); err != nil {
		return err
	}
	profile := simulator.ProfileID(0)
	binary := fmt.Sprintf("bin/marquee --data-dir %s", svc.e.settings.DataDir)
	_, err := fmt.Fprintf(c.stdout, `
Of 10 titles recommended, viewers truly love (their own top tenth of the catalogue):
  top picks  %4.1f
  popular    %4.1f
  by chance  %4.1f
measured over %d of %d viewers, from %d watch events; nothing else told the service their tastes.

Serving on %s. Try, in another terminal:
  %s recommend --profile %s --explain
  %s home --profile %s
  %s similar --title %s
  curl -s %s/%s/Recommend -H 'content-type: application/json' -d '{"viewer":{"profile_id":"%s"},"count":5}'
  curl -s %s/readyz
`, 10*s.TopPicks, 10*s.Popular, 10*s.Chance, s.Asked, s.Viewers, s.Events, s.Address,
		binary, profile, binary, profile, binary, simulator.TitleID(0),
		s.Address, servingv1connect.RecommendationServiceName, profile, s.Address)
	if err == nil && !d.Exit {
		_, err = fmt.Fprintln(c.stdout, "Ctrl-C ends it.")
	}
	return err
}
