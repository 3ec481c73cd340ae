package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"marquee/client"
	ingestv1 "marquee/ingest/v1"
	servingv1 "marquee/serving/v1"
)

// A viewer plays the first title that is recommended: the next answer is without it, at once.
func Example() {
	service, err := start() // a service of this process; yours is elsewhere
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()

	c, err := client.New(client.Config{Address: service.url, Token: "mrq_...", Timeout: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	viewer := c.Session(&servingv1.Viewer{ProfileId: "anna", Country: "NO"})

	list, err := viewer.Recommend(ctx, &servingv1.RecommendRequest{Count: 5})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("recommended:", len(list.Titles))

	shown, err := list.Seen(0, 5)
	if err != nil {
		log.Fatal(err)
	}
	played, err := list.Led(0, ingestv1.EventType_EVENT_TYPE_PLAY_END)
	if err != nil {
		log.Fatal(err)
	}
	played.PlayId, played.WatchedMs, played.DurationMs = "play-1", 90*60_000, 100*60_000
	if err := viewer.Record(ctx, shown, played); err != nil {
		log.Fatal(err)
	}

	next, err := viewer.Recommend(ctx, &servingv1.RecommendRequest{Count: 5})
	if err != nil {
		log.Fatal(err)
	}
	still := slices.ContainsFunc(next.Titles, func(t *servingv1.Recommendation) bool { return t.TitleId == played.TitleId })
	fmt.Println("still recommended:", still)
	// Output:
	// recommended: 5
	// still recommended: false
}

// What cannot be right is named; the other events of the call are recorded.
func ExampleRejectedError() {
	service, err := start()
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	c, err := client.New(client.Config{Address: service.url})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	viewer := c.Session(&servingv1.Viewer{ProfileId: "anna"})
	err = viewer.Record(context.Background(),
		&ingestv1.WatchEvent{Type: ingestv1.EventType_EVENT_TYPE_LIKE, TitleId: "film-1"},
		&ingestv1.WatchEvent{Type: ingestv1.EventType_EVENT_TYPE_SEARCH},
	)
	var rejected *client.RejectedError
	fmt.Println(errors.As(err, &rejected), err)
	// Output: true event 1: query: is required when type is search
}

// The rows of a home page, and what a viewer clicked in one.
func ExampleSession_HomePage() {
	service, err := start()
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	c, err := client.New(client.Config{Address: service.url})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	viewer := c.Session(&servingv1.Viewer{ProfileId: "anna"})
	page, err := viewer.HomePage(context.Background(), &servingv1.HomePageRequest{RowSize: 6})
	if err != nil {
		log.Fatal(err)
	}
	click, err := page.Led(0, 2, ingestv1.EventType_EVENT_TYPE_CLICK)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(page.Rows[0].Kind, len(page.Rows[0].Titles), click.RequestId == page.RequestId, click.GetRow(), click.GetRank())
	// Output: top_picks 6 true 0 2
}
