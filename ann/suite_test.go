package ann_test

import (
	"testing"

	"marquee/ann"
	"marquee/ann/anntest"
)

func TestSuite(t *testing.T) {
	for _, kind := range []ann.Strategy{ann.Exact, ann.HNSW} {
		t.Run(kind.String(), func(t *testing.T) {
			anntest.Run(t, ann.Build, ann.Options{Kind: kind, Int8: true, EFConstruction: 40})
		})
	}
}
