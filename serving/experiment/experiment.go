// Package experiment puts profiles into the arms of experiments: the same profile into the same arm for as long as the experiment's
// definition stands, evenly by weight, and independently of any other experiment.
package experiment

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Experiment is one comparison.
type Experiment struct {
	Name  string
	Arms  []Arm
	total float64
}

// Arm is one of the ways that an experiment compares.
type Arm struct {
	Name   string
	Weight float64
	Settings
}

// Settings are what an arm changes; what it does not name stays as the service is set up.
type Settings struct {
	// Diversity, Exploration and ColdShare are 0 to 1; TrendingBoost is 0 to 10.
	Diversity, Exploration, ColdShare, TrendingBoost *float64
	// Candidates is 1 to 100000.
	Candidates *int
	// Boost is a CEL expression, for requests that have none of their own.
	Boost string
}

const (
	maxExperiments = 100
	maxArms        = 100
)

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// ParseAll reads the definitions of experiments, whose names must differ.
func ParseAll(texts []string) ([]Experiment, error) {
	if len(texts) > maxExperiments {
		return nil, fmt.Errorf("there are %d experiments, at most %d", len(texts), maxExperiments)
	}
	var out []Experiment
	var errs []error
	seen := map[string]bool{}
	for i, text := range texts {
		e, err := Parse(text)
		if err == nil && seen[e.Name] {
			err = fmt.Errorf("%s is the name of another one too", e.Name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("experiment %d: %w", i+1, err))
			continue
		}
		seen[e.Name] = true
		out = append(out, e)
	}
	return out, errors.Join(errs...)
}

// Parse reads a definition: the experiment's name, and after a colon its arms, separated by semicolons, each a name, a weight and the
// settings it changes, as in
//
//	more-variety: control 90; varied 10 diversity=0.3 exploration=0.05; local 10 boost="title.language == 'no' ? 1.5 : 1.0"
//
// A value that has a blank, a semicolon or a quote in it is quoted as in Go.
func Parse(text string) (Experiment, error) {
	words, err := split(text)
	if err != nil {
		return Experiment{}, err
	}
	if len(words) == 0 || !strings.HasSuffix(words[0], ":") {
		return Experiment{}, fmt.Errorf("%q does not begin with the experiment's name and a colon, as in variety: control 90; varied 10 diversity=0.3", text)
	}
	e := Experiment{Name: strings.TrimSuffix(words[0], ":")}
	if !plainName.MatchString(e.Name) {
		return Experiment{}, fmt.Errorf("its name must be of 1 to 64 letters, digits, _, - and ., is %q", e.Name)
	}
	for rest := words[1:]; rest != nil; {
		var arm []string
		if at := slices.Index(rest, ";"); at >= 0 {
			arm, rest = rest[:at], rest[at+1:]
		} else {
			arm, rest = rest, nil
		}
		a, err := parseArm(arm)
		if err != nil {
			return Experiment{}, fmt.Errorf("%s: %w", e.Name, err)
		}
		for _, other := range e.Arms {
			if other.Name == a.Name {
				return Experiment{}, fmt.Errorf("%s: arm %s is there twice", e.Name, a.Name)
			}
		}
		e.Arms = append(e.Arms, a)
		e.total += a.Weight
	}
	if len(e.Arms) < 2 || len(e.Arms) > maxArms {
		return Experiment{}, fmt.Errorf("%s has %d arms, must have 2 to %d", e.Name, len(e.Arms), maxArms)
	}
	return e, nil
}

// split cuts a text at blanks; a semicolon is a word of its own, and quotes keep a value together.
func split(text string) (words []string, err error) {
	for text = strings.TrimLeft(text, " \t\n"); text != ""; text = strings.TrimLeft(text, " \t\n") {
		if text[0] == ';' {
			words, text = append(words, ";"), text[1:]
			continue
		}
		end := strings.IndexAny(text, " \t\n;\"")
		if end < 0 {
			end = len(text)
		}
		word := text[:end]
		if end < len(text) && text[end] == '"' {
			quoted, err := strconv.QuotedPrefix(text[end:])
			if err != nil {
				return nil, fmt.Errorf("the quote that begins at %q does not end", text[end:])
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("%s is no quoted text", quoted)
			}
			word, end = word+value, end+len(quoted)
		}
		words, text = append(words, word), text[end:]
	}
	return words, nil
}

func parseArm(words []string) (Arm, error) {
	if len(words) < 2 {
		return Arm{}, fmt.Errorf("an arm needs a name and a weight, has %q", strings.Join(words, " "))
	}
	a := Arm{Name: words[0]}
	if !plainName.MatchString(a.Name) {
		return Arm{}, fmt.Errorf("an arm's name must be of 1 to 64 letters, digits, _, - and ., is %q", a.Name)
	}
	var err error
	if a.Weight, err = strconv.ParseFloat(words[1], 64); err != nil || !(a.Weight > 0 && a.Weight <= 1e6) {
		return Arm{}, fmt.Errorf("arm %s: its weight must be above 0 and at most 1000000, is %q", a.Name, words[1])
	}
	for _, w := range words[2:] {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return Arm{}, fmt.Errorf("arm %s: %q is no setting, such as diversity=0.3", a.Name, w)
		}
		if err := a.set(key, value); err != nil {
			return Arm{}, fmt.Errorf("arm %s: %w", a.Name, err)
		}
	}
	return a, nil
}

func (s *Settings) set(key, value string) error {
	share := func(to **float64, most float64) error {
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !(v >= 0 && v <= most) {
			return fmt.Errorf("%s must be between 0 and %g, is %q", key, most, value)
		}
		*to = &v
		return nil
	}
	switch key {
	case "diversity":
		return share(&s.Diversity, 1)
	case "exploration":
		return share(&s.Exploration, 1)
	case "cold_share":
		return share(&s.ColdShare, 1)
	case "trending_boost":
		return share(&s.TrendingBoost, 10)
	case "candidates":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 100_000 {
			return fmt.Errorf("candidates must be between 1 and 100000, is %q", value)
		}
		s.Candidates = &n
	case "boost":
		if value == "" {
			return errors.New("boost must be a CEL expression, is empty")
		}
		s.Boost = value
	default:
		return fmt.Errorf("there is no setting %q; there are diversity, exploration, cold_share, trending_boost, candidates and boost", key)
	}
	return nil
}

// Arm is the profile's arm, by a hash of the experiment's name and the profile (SHA-256, its first 53 bits as a share of 1). Arms keep
// their profiles as long as the name and the order and weights of the arms stay.
func (e *Experiment) Arm(profileID string) *Arm {
	var b [160]byte
	key := append(append(append(b[:0], e.Name...), 0), profileID...)
	h := sha256.Sum256(key)
	at := float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53) * e.total
	for i := range e.Arms {
		if at -= e.Arms[i].Weight; at < 0 {
			return &e.Arms[i]
		}
	}
	return &e.Arms[len(e.Arms)-1]
}
