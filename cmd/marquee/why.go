package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	servingv1 "marquee/serving/v1"
)

type whyCommand struct {
	asking
	wishing
	Profile string `required:"" help:"The profile's id." placeholder:"ID"`
	Title   string `required:"" help:"The title's id." placeholder:"ID"`
	Count   uint32 `help:"How many titles are asked for." default:"20"`
}

// Run asks for a list with an eye on one title.
func (w whyCommand) Run(c *console) error {
	return w.reach(c, func(_ recommender, to admin) error {
		resp, err := to.WhyTitle(c.ctx, connect.NewRequest(&servingv1.WhyTitleRequest{TitleId: w.Title, Request: &servingv1.RecommendRequest{
			Viewer: w.viewer(w.Profile), Count: w.Count, Filter: w.Filter, Boost: w.Boost, Diversity: w.Diversity, Exploration: w.Explore,
		}}))
		if err != nil {
			return fmt.Errorf("why %s for %s: %w", w.Title, w.Profile, err)
		}
		if w.JSON {
			return printMessage(c, resp.Msg)
		}
		printDegraded(c, resp.Msg.GetDegraded())
		return printWhy(c, w.Title, resp.Msg)
	})
}

// printMessage writes a message as JSON with the contract's own field names.
func printMessage(c *console, m proto.Message) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: false, Multiline: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err = fmt.Fprintln(c.stdout, string(text))
	return err
}

func printWhy(c *console, title string, m *servingv1.WhyTitleResponse) error {
	if m.Place != nil {
		fmt.Fprintf(c.stdout, "%s is number %d of %d, from %d candidates: %s\n", title, m.GetPlace()+1, m.GetAnswered(), m.GetCandidates(), m.GetReason())
	} else {
		fmt.Fprintf(c.stdout, "%s is not among the %d titles; removed by %s: %s\n", title, m.GetAnswered(), m.GetRemovedAt(), strings.Join(m.GetReasons(), ", "))
	}
	if m.ReleaseScore != nil {
		fmt.Fprintf(c.stdout, "the release's vectors say %.4f", m.GetReleaseScore())
		if m.LeastFound != nil {
			fmt.Fprintf(c.stdout, "; the least of what they found is %.4f", m.GetLeastFound())
		}
		fmt.Fprintln(c.stdout)
	}
	x := m.GetExplanation()
	if x == nil {
		return nil
	}
	fmt.Fprintf(c.stdout, "found by %s, number %d of the candidates by score: %.4f = %.4f x trending %.3f x dislike %.3f x boost %.3f; the last title has %.4f\n",
		m.GetSource(), x.GetRanked()+1, m.GetScore(), x.GetBase(), x.GetTrending(), x.GetDislike(), x.GetBoost(), m.GetLastScore())
	if len(x.GetContributions()) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(x.GetContributions())+1)
	for _, from := range x.GetContributions() {
		rows = append(rows, []string{from.GetName(), fmt.Sprintf("%+.4f", from.GetScore())})
	}
	rows = append(rows, []string{"all others", fmt.Sprintf("%+.4f", x.GetOtherContributions())})
	return printTable(c.stdout, []string{"BECAUSE OF", "VECTORS ADD"}, rows)
}

type profilesShowCommand struct {
	Profile string `arg:"" help:"The profile's id."`
	Server  string `help:"Base URL of a running service; without it the one on this data folder is asked, or the engines are opened." placeholder:"URL"`
	JSON    bool   `help:"Print JSON."`
}

// Run prints the state.
func (p profilesShowCommand) Run(c *console) error {
	if err := checkProfile(p.Profile); err != nil {
		return err
	}
	return asking{Server: p.Server}.reach(c, func(_ recommender, to admin) error {
		resp, err := to.ProfileState(c.ctx, connect.NewRequest(&servingv1.ProfileStateRequest{ProfileId: p.Profile}))
		if err != nil {
			return fmt.Errorf("state of %s: %w", p.Profile, err)
		}
		if p.JSON {
			return printMessage(c, resp.Msg)
		}
		return printState(c, p.Profile, resp.Msg)
	})
}

func printState(c *console, profile string, m *servingv1.ProfileStateResponse) error {
	if m.GetStale() {
		fmt.Fprintln(c.stderr, "the state is behind the log")
	}
	if !m.GetKnown() {
		_, err := fmt.Fprintf(c.stdout, "nothing is known of %s\n", profile)
		return err
	}
	fmt.Fprintf(c.stdout, "%d events, %d titles, %d seen long ago\n", m.GetEvents(), len(m.GetHistory()), len(m.GetSeen()))
	for _, name := range slices.Sorted(maps.Keys(m.GetArms())) {
		fmt.Fprintf(c.stdout, "experiment %s: %s\n", name, m.GetArms()[name])
	}
	rows := make([][]string, len(m.GetHistory()))
	for i, h := range m.GetHistory() {
		rows[i] = []string{
			h.GetTitleId(), h.GetName(), time.UnixMicro(h.GetLastAt()).UTC().Format(time.RFC3339), fmt.Sprintf("%.2f", h.GetStrength()),
			fmt.Sprintf("%.0f%%", 100*h.GetCompleted()), strings.Join(said(h), ", "),
		}
	}
	return printTable(c.stdout, []string{"TITLE", "NAME", "LATEST", "STRENGTH", "COMPLETED", "WHAT"}, rows)
}

// said is what happened to a title, in words.
func said(h *servingv1.HistoryEntry) (out []string) {
	for _, f := range []struct {
		is   bool
		word string
	}{{h.GetWatched(), "watched"}, {h.GetAbandoned(), "abandoned"}, {h.GetLiked(), "liked"}, {h.GetDisliked(), "disliked"}, {h.GetListed(), "listed"}} {
		if f.is {
			out = append(out, f.word)
		}
	}
	return out
}
