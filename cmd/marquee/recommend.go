package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"marquee/internal/app"
	"marquee/internal/datadir"
	servingv1 "marquee/serving/v1"
	"marquee/serving/v1/servingv1connect"
)

// asking are the flags of the commands that ask for recommendations.
type asking struct {
	Server  string  `help:"Base URL of a running service; without it the one on this data folder is asked, or the engines are opened." placeholder:"URL"`
	Country string  `help:"Country of the viewer, ISO 3166-1 alpha-2." placeholder:"CC"`
	MaxAge  *uint32 `help:"Show nothing fit only for more than this age." placeholder:"YEARS"`
	AsOf    asOf    `help:"Answer as if it were this instant: an RFC 3339 time, or max-event. Only without a running service." placeholder:"T"`
	JSON    bool    `help:"Print JSON."`
}

func (a asking) viewer(profile string) *servingv1.Viewer {
	return &servingv1.Viewer{ProfileId: profile, Country: a.Country, MaxMaturityAge: a.MaxAge}
}

// recommender is what answers: a service's client, or the service itself in this process.
type recommender interface {
	Recommend(context.Context, *connect.Request[servingv1.RecommendRequest]) (*connect.Response[servingv1.RecommendResponse], error)
	SimilarTitles(context.Context, *connect.Request[servingv1.SimilarTitlesRequest]) (*connect.Response[servingv1.SimilarTitlesResponse], error)
	HomePage(context.Context, *connect.Request[servingv1.HomePageRequest]) (*connect.Response[servingv1.HomePageResponse], error)
}

// admin is what answers operators.
type admin interface {
	ProfileState(context.Context, *connect.Request[servingv1.ProfileStateRequest]) (*connect.Response[servingv1.ProfileStateResponse], error)
	WhyTitle(context.Context, *connect.Request[servingv1.WhyTitleRequest]) (*connect.Response[servingv1.WhyTitleResponse], error)
}

// ask finds who answers and lets use ask them.
func (a asking) ask(c *console, use func(recommender) error) error {
	return a.reach(c, func(to recommender, _ admin) error { return use(to) })
}

// reach is ask for operators too.
func (a asking) reach(c *console, use func(recommender, admin) error) (err error) {
	address := a.Server
	if address == "" {
		s, err := c.load(os.Environ())
		if err != nil {
			return err
		}
		owner, held, err := datadir.Peek(s.DataDir)
		if err != nil {
			return err
		}
		if held {
			address = owner.Address
		}
	}
	if address != "" {
		if a.AsOf.maxEvent || !a.AsOf.at.IsZero() {
			return usageError{fmt.Errorf("--as-of cannot be given to the running service at %s: it serves at its own", address)}
		}
		client := clientOf(address)
		return use(servingv1connect.NewRecommendationServiceClient(client, address), servingv1connect.NewServingAdminServiceClient(client, address))
	}
	e, err := c.open(beside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	clock, err := e.clock(c.ctx, a.AsOf)
	if err != nil {
		return err
	}
	// Who asks at the terminal is no viewer.
	e.settings.Serving.Served.Enabled = false
	w, err := wire(e, clock, []string{"recommend"})
	if err != nil {
		return err
	}
	group := app.NewGroup(e.log, e.settings.Drain, w.modules...)
	if err := group.Start(c.ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Stop()) }()
	if err := group.AwaitReady(c.ctx); err != nil {
		return err
	}
	return use(w.serving.Service(), w.serving.Admin())
}

// titleJSON is a recommendation as --json prints it; its keys are part of the command's contract.
type titleJSON struct {
	TitleID string   `json:"title_id"`
	Name    string   `json:"name"`
	Score   float64  `json:"score"`
	Reason  string   `json:"reason"`
	Source  string   `json:"source"`
	Year    int32    `json:"year,omitempty"`
	Genres  []string `json:"genres,omitempty"`
}

type answerJSON struct {
	RequestID   string                 `json:"request_id"`
	Titles      []titleJSON            `json:"titles"`
	Degraded    []string               `json:"degraded,omitempty"`
	Bundle      string                 `json:"bundle,omitempty"`
	Explanation *servingv1.Explanation `json:"explanation,omitempty"`
}

func titlesJSON(titles []*servingv1.Recommendation) []titleJSON {
	out := make([]titleJSON, len(titles))
	for i, t := range titles {
		out[i] = titleJSON{t.GetTitleId(), t.GetName(), t.GetScore(), t.GetReason(), t.GetSource(), t.GetYear(), t.GetGenres()}
	}
	return out
}

func printTitles(c *console, titles []*servingv1.Recommendation) error {
	rows := make([][]string, len(titles))
	for i, t := range titles {
		rows[i] = []string{fmt.Sprint(i + 1), t.GetTitleId(), t.GetName(), strings.Join(t.GetGenres(), ", "), fmt.Sprintf("%.3f", t.GetScore()), t.GetReason()}
	}
	return printTable(c.stdout, []string{"#", "TITLE", "NAME", "GENRES", "SCORE", "WHY"}, rows)
}

func printDegraded(c *console, steps []string) {
	if len(steps) > 0 {
		fmt.Fprintf(c.stderr, "answered with less: %s\n", strings.Join(steps, ", "))
	}
}

// wishing are the expressions of a caller.
type wishing struct {
	Filter    string   `help:"Only titles of which this CEL expression is true, such as 'title.year >= 2000 && \"Drama\" in title.genres'." placeholder:"CEL"`
	Diversity *float64 `help:"How much titles should differ: 0, by score alone, to 1." placeholder:"0-1"`
	Explore   *float64 `name:"exploration" help:"The chance of each place to go to a title drawn by lot: 0 to 1." placeholder:"0-1"`
	Boost     string   `help:"Multiply scores by this CEL expression, such as 'title.language == \"no\" ? 1.5 : 1.0'." placeholder:"CEL"`
}

type recommendCommand struct {
	asking
	wishing
	Profile string `required:"" help:"The profile's id." placeholder:"ID"`
	Count   uint32 `help:"How many titles." default:"20"`
	Explain bool   `help:"Also say how each title came about."`
}

// Run asks for a list.
func (r recommendCommand) Run(c *console) error {
	return r.ask(c, func(to recommender) error {
		resp, err := to.Recommend(c.ctx, connect.NewRequest(&servingv1.RecommendRequest{Viewer: r.viewer(r.Profile), Count: r.Count, Explain: r.Explain, Filter: r.Filter, Boost: r.Boost, Diversity: r.Diversity, Exploration: r.Explore}))
		if err != nil {
			return fmt.Errorf("recommend for %s: %w", r.Profile, err)
		}
		m := resp.Msg
		if r.JSON {
			return printJSON(c.stdout, answerJSON{m.GetRequestId(), titlesJSON(m.GetTitles()), m.GetDegraded(), m.GetBundleId(), m.GetExplanation()})
		}
		printDegraded(c, m.GetDegraded())
		if err := printTitles(c, m.GetTitles()); err != nil || !r.Explain {
			return err
		}
		return printExplanation(c, m)
	})
}

func printExplanation(c *console, m *servingv1.RecommendResponse) error {
	x := m.GetExplanation()
	fmt.Fprintf(c.stdout, "\nrelease %s, %d titles of history, search: %s\n", m.GetBundleId(), x.GetHistoryLength(), x.GetSearchPlan())
	for _, stage := range []string{"retrieve", "filter", "rank", "arrange", "explain"} {
		if ms, ok := x.GetStageMs()[stage]; ok {
			fmt.Fprintf(c.stdout, "  %-9s %.3f ms\n", stage, ms)
		}
	}
	for _, source := range sortedKeys(x.GetFound()) {
		fmt.Fprintf(c.stdout, "  source %-17s %4d candidates, %.3f ms\n", source, x.GetFound()[source], x.GetSourceMs()[source])
	}
	for _, reason := range sortedKeys(x.GetFiltered()) {
		fmt.Fprintf(c.stdout, "  taken out: %s %d\n", reason, x.GetFiltered()[reason])
	}
	scores := make([][]string, len(x.GetTitles()))
	for i, t := range x.GetTitles() {
		scores[i] = []string{
			t.GetTitleId(), fmt.Sprint(t.GetRanked() + 1), fmt.Sprintf("%.4f", t.GetBase()), fmt.Sprintf("%.3f", t.GetTrending()),
			fmt.Sprintf("%.3f", t.GetDislike()), fmt.Sprintf("%.3f", t.GetBoost()), fmt.Sprintf("%.4f", t.GetPropensity()),
		}
	}
	fmt.Fprintln(c.stdout)
	if err := printTable(c.stdout, []string{"TITLE", "BY SCORE", "BASE", "TRENDING", "DISLIKE", "BOOST", "PROPENSITY"}, scores); err != nil {
		return err
	}
	var rows [][]string
	for _, t := range x.GetTitles() {
		for _, from := range t.GetContributions() {
			rows = append(rows, []string{t.GetTitleId(), from.GetName(), fmt.Sprintf("%+.3f", from.GetScore())})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(c.stdout)
	return printTable(c.stdout, []string{"TITLE", "BECAUSE OF", "ADDS"}, rows)
}

func sortedKeys(m map[string]uint32) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

type similarCommand struct {
	asking
	Title  string `required:"" help:"The title's id." placeholder:"ID"`
	Count  uint32 `help:"How many titles." default:"20"`
	Filter string `help:"Only titles of which this CEL expression is true." placeholder:"CEL"`
}

// Run asks for a title's neighbours.
func (s similarCommand) Run(c *console) error {
	return s.ask(c, func(to recommender) error {
		// Without a profile the hard filters are those of anybody in the country given.
		resp, err := to.SimilarTitles(c.ctx, connect.NewRequest(&servingv1.SimilarTitlesRequest{TitleId: s.Title, Count: s.Count, Filter: s.Filter}))
		if err != nil {
			return fmt.Errorf("similar to %s: %w", s.Title, err)
		}
		m := resp.Msg
		if s.JSON {
			return printJSON(c.stdout, answerJSON{RequestID: m.GetRequestId(), Titles: titlesJSON(m.GetTitles()), Degraded: m.GetDegraded(), Bundle: m.GetBundleId()})
		}
		printDegraded(c, m.GetDegraded())
		return printTitles(c, m.GetTitles())
	})
}

type homeCommand struct {
	asking
	wishing
	Profile string `required:"" help:"The profile's id." placeholder:"ID"`
	Rows    uint32 `help:"Rows at most." default:"10"`
	RowSize uint32 `help:"Titles a row at most." default:"10"`
}

type rowJSON struct {
	Kind    string      `json:"kind"`
	Heading string      `json:"heading"`
	Subject string      `json:"subject,omitempty"`
	Titles  []titleJSON `json:"titles"`
}

type homeJSON struct {
	RequestID string    `json:"request_id"`
	Rows      []rowJSON `json:"rows"`
	Degraded  []string  `json:"degraded,omitempty"`
	Bundle    string    `json:"bundle,omitempty"`
}

// Run asks for a home page.
func (h homeCommand) Run(c *console) error {
	return h.ask(c, func(to recommender) error {
		resp, err := to.HomePage(c.ctx, connect.NewRequest(&servingv1.HomePageRequest{Viewer: h.viewer(h.Profile), Rows: h.Rows, RowSize: h.RowSize, Filter: h.Filter, Boost: h.Boost, Diversity: h.Diversity, Exploration: h.Explore}))
		if err != nil {
			return fmt.Errorf("home page of %s: %w", h.Profile, err)
		}
		m := resp.Msg
		if h.JSON {
			out := homeJSON{RequestID: m.GetRequestId(), Rows: []rowJSON{}, Degraded: m.GetDegraded(), Bundle: m.GetBundleId()}
			for _, r := range m.GetRows() {
				out.Rows = append(out.Rows, rowJSON{r.GetKind(), r.GetHeading(), r.GetSubject(), titlesJSON(r.GetTitles())})
			}
			return printJSON(c.stdout, out)
		}
		printDegraded(c, m.GetDegraded())
		for _, r := range m.GetRows() {
			fmt.Fprintf(c.stdout, "%s\n", r.GetHeading())
			for _, t := range r.GetTitles() {
				fmt.Fprintf(c.stdout, "  %-12s %s\n", t.GetTitleId(), t.GetName())
			}
			fmt.Fprintln(c.stdout)
		}
		return nil
	})
}
