package checksum_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"marquee/internal/checksum"
)

func of(items ...string) string {
	var s checksum.Sum
	for _, i := range items {
		s.Add([]byte(i))
	}
	return s.String()
}

func TestOrderMeansNothingAndContentEverything(t *testing.T) {
	items := make([]string, 1000)
	for i := range items {
		items[i] = fmt.Sprint(i)
	}
	want := of(items...)
	rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	if got := of(items...); got != want {
		t.Errorf("in another order %s, want %s", got, want)
	}
	seen := map[string]string{}
	for name, sum := range map[string]string{
		"nothing": of(), "an empty item": of(""), "a": of("a"), "a twice": of("a", "a"), "ab": of("ab"), "a and b": of("a", "b"),
		"one less": of(items[1:]...), "all": want,
	} {
		if other, ok := seen[sum]; ok {
			t.Errorf("%s has the checksum of %s", name, other)
		}
		seen[sum] = name
	}
}
