package experiment

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	e, err := Parse(`variety: control 90; varied 7.5 diversity=0.3 exploration=.05 candidates=300; local 2.5 boost="title.language == \"no\" ; x" cold_share=0 trending_boost=2`)
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "variety" || len(e.Arms) != 3 || e.total != 100 || *e.Arms[1].Diversity != .3 || *e.Arms[1].Exploration != .05 ||
		*e.Arms[1].Candidates != 300 || e.Arms[2].Boost != `title.language == "no" ; x` || *e.Arms[2].ColdShare != 0 || *e.Arms[2].TrendingBoost != 2 {
		t.Errorf("%+v", e)
	}
	for text, want := range map[string]string{
		"":                               "does not begin with",
		"a b 1; c 2":                     "does not begin with",
		"ä: b 1; c 2":                    "its name must be",
		"a: b 1":                         "has 1 arms",
		"a: b 1;":                        "needs a name and a weight",
		"a: b 1; b 2":                    "arm b is there twice",
		"a: b x; c 2":                    "its weight must be",
		"a: b 0; c 2":                    "its weight must be",
		"a: b 1 fast; c 2":               `"fast" is no setting`,
		"a: b 1 divercity=1; c 2":        "there is no setting \"divercity\"; there are diversity",
		"a: b 1 diversity=2; c 2":        "diversity must be between 0 and 1",
		"a: b 1 candidates=0; c 2":       "candidates must be between 1",
		`a: b 1 boost="x; c 2`:           "does not end",
		"a: b 1 boost=; c 2":             "boost must be a CEL",
		"a: b 1 trending_boost=NaN; c 2": "trending_boost must be",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseAll([]string{"a: b 1; c 1", "a: b 1; c 1", "x"}); err == nil || !strings.Contains(err.Error(), "experiment 2: a is the name") || !strings.Contains(err.Error(), "experiment 3") {
		t.Errorf("%v", err)
	}
}

// TestAssignment: 200,000 profiles in two experiments that compare nothing: arms have their shares, and those of one say nothing of
// those of the other.
func TestAssignment(t *testing.T) {
	all, err := ParseAll([]string{"first: a 50; b 30; c 20", "second: a 50; b 30; c 20"})
	if err != nil {
		t.Fatal(err)
	}
	const profiles = 200_000
	counts := map[[2]string]float64{}
	for i := range profiles {
		id := fmt.Sprint("ml1m:", i)
		arm := all[0].Arm(id)
		if all[0].Arm(id) != arm {
			t.Fatal("an arm of one profile changes")
		}
		counts[[2]string{arm.Name, all[1].Arm(id).Name}]++
	}
	share := map[string]float64{"a": .5, "b": .3, "c": .2}
	square := 0.
	for one, p := range share {
		for other, q := range share {
			expected := p * q * profiles
			off := counts[[2]string{one, other}] - expected
			square += off * off / expected
		}
	}
	// 8 degrees of freedom: above 37.3 once in 100,000.
	if square > 37.3 {
		t.Errorf("chi-square %.1f of %v", square, counts)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("variety: control 90; varied 10 diversity=0.3")
	f.Add(`a: b 1; c 2 boost="x \" y"`)
	f.Add(";:;")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		if arm := e.Arm("p"); arm == nil || arm.Weight <= 0 {
			t.Errorf("%q: arm %+v", text, arm)
		}
	})
}
