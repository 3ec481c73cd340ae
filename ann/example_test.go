package ann_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"marquee/ann"
)

// Four items with two factors each, and whom they suit: comedies to the right, thrillers up.
var factors = []float32{
	0.9, 0.1, // 0: a comedy
	0.8, 0.3, // 1: a comedy with an edge
	0.1, 0.9, // 2: a thriller
	2.0, 2.0, // 3: what everybody watches
}

func ExampleBuild() {
	ix, err := ann.Build(context.Background(), factors, 2, ann.Options{Metric: ann.InnerProduct})
	if err != nil {
		log.Fatal(err)
	}
	hits, plan, err := ix.Search([]float32{1, 0}, 3, ann.SearchOptions{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range hits {
		fmt.Printf("%d %.1f\n", h.ID, h.Score)
	}
	fmt.Println(plan)
	// Output:
	// 3 2.0
	// 0 0.9
	// 1 0.8
	// exact over 4 eligible: the index has no graph
}

func ExampleIndex_filter() {
	ix, err := ann.Build(context.Background(), factors, 2, ann.Options{Metric: ann.Cosine})
	if err != nil {
		log.Fatal(err)
	}
	notSeen := ann.NewBitmap(ix.Len())
	notSeen.Fill(ix.Len())
	notSeen.Clear(3)
	hits, _, err := ix.Search([]float32{1, 1}, 2, ann.SearchOptions{Filter: notSeen}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range hits {
		fmt.Printf("%d %.2f\n", h.ID, h.Score)
	}
	// Output:
	// 1 0.91
	// 0 0.78
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "ann")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "items.ann")

	ix, err := ann.Build(context.Background(), factors, 2, ann.Options{Kind: ann.HNSW, Int8: true})
	if err != nil {
		log.Fatal(err)
	}
	if err := ann.WriteFile(path, ix); err != nil {
		log.Fatal(err)
	}
	f, err := ann.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	hits, _, err := f.Search([]float32{0, 1}, 1, ann.SearchOptions{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Info().Kind, f.Len(), hits[0].ID)
	// Output: hnsw 4 3
}

// A catalogue that changes while it is searched.
func ExampleLive() {
	ctx := context.Background()
	live, err := ann.NewLive(ctx, []float32{1, 0, 0, 1, 1, 1}, 2, ann.Options{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	// Title 2 leaves, title 1 gets other factors, title 3 is new.
	err = live.Apply(ann.Change{ID: 2}, ann.Change{ID: 1, Vector: []float32{3, 1}}, ann.Change{ID: 3, Vector: []float32{0, 2}})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		hits, plan, err := live.Search([]float32{1, .5}, 2, ann.SearchOptions{}, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(hits, plan.Delta, "in the delta")
		if err := live.Compact(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// [{1 3.5} {0 1}] 2 in the delta
	// [{1 3.5} {0 1}] 0 in the delta
}
