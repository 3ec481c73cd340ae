package mapping

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"marquee/ingest/tabular"
)

// simpleStep returns a step that takes no argument, or nil.
func simpleStep(name string) step {
	switch name {
	case "trim":
		return onText(func(text []byte, _ *scratch) []byte { return bytes.TrimSpace(text) })
	case "lower":
		return onText(func(text []byte, _ *scratch) []byte { return bytes.ToLower(text) })
	case "upper":
		return onText(func(text []byte, _ *scratch) []byte { return bytes.ToUpper(text) })
	case "hash":
		return onText(func(text []byte, s *scratch) []byte {
			sum := sha256.Sum256(text)
			from := len(s.bytes)
			s.bytes = hex.AppendEncode(s.bytes, sum[:16])
			return s.bytes[from:len(s.bytes):len(s.bytes)]
		})
	}
	return nil
}

// onText makes a step of what is done to a text, and to each item of a list.
func onText(f func(text []byte, s *scratch) []byte) step {
	return func(c *tabular.Cell, s *scratch) *Rejection {
		switch c.Kind {
		case tabular.Null:
		case tabular.List:
			from := len(s.items)
			for _, item := range c.Items {
				if item = f(item, s); len(item) > 0 {
					s.items = append(s.items, item)
				}
			}
			c.Items = s.items[from:len(s.items):len(s.items)]
		default:
			set(c, f(s.text(c), s))
		}
		return nil
	}
}

func matchStep(argument string) (step, error) {
	re, err := regexp.Compile(argument)
	if err != nil {
		return nil, fmt.Errorf("the step match needs a regular expression: %w", err)
	}
	return onText(func(text []byte, _ *scratch) []byte {
		found := re.FindSubmatch(text)
		switch {
		case found == nil:
			return nil
		case len(found) > 1:
			return found[1]
		}
		return found[0]
	}), nil
}

func wordsStep(argument string) (step, error) {
	words := make(map[string][]byte)
	var other []byte
	for _, pair := range strings.Split(argument, ",") {
		from, to, ok := strings.Cut(pair, "=")
		if from = strings.TrimSpace(from); !ok {
			return nil, fmt.Errorf("the step words takes pairs like Movie=film, this is %q", pair)
		}
		if from == "*" {
			other = []byte(strings.TrimSpace(to))
			continue
		}
		words[from] = []byte(strings.TrimSpace(to))
	}
	return onText(func(text []byte, _ *scratch) []byte {
		if to, ok := words[string(text)]; ok {
			return to
		}
		if other != nil {
			return other
		}
		return text
	}), nil
}

func splitStep(separator string) (step, error) {
	sep := []byte(separator)
	return func(c *tabular.Cell, s *scratch) *Rejection {
		if c.Kind != tabular.Null && c.Kind != tabular.List {
			c.Items = splitText(s.text(c), sep, s)
			c.Kind = tabular.List
		}
		return nil
	}, nil
}

// splitText cuts a text into what is not blank.
func splitText(text, separator []byte, s *scratch) [][]byte {
	from := len(s.items)
	for more := true; more; {
		var item []byte
		item, text, more = bytes.Cut(text, separator)
		if item = bytes.TrimSpace(item); len(item) > 0 {
			s.items = append(s.items, item)
		}
	}
	return s.items[from:len(s.items):len(s.items)]
}

func scaleStep(argument string) (step, error) {
	factor, err := strconv.ParseFloat(argument, 64)
	if err != nil || math.IsNaN(factor) || math.IsInf(factor, 0) {
		return nil, fmt.Errorf("the step scale needs a number, this is %q", argument)
	}
	return onNumber(func(v float64) float64 { return v * factor }), nil
}

func capStep(argument string) (step, error) {
	most, err := strconv.ParseFloat(argument, 64)
	if err != nil || math.IsNaN(most) {
		return nil, fmt.Errorf("the step cap needs a number, this is %q", argument)
	}
	return onNumber(func(v float64) float64 { return min(v, most) }), nil
}

func onNumber(f func(float64) float64) step {
	return func(c *tabular.Cell, s *scratch) *Rejection {
		if c.Kind == tabular.Null {
			return nil
		}
		v, r := number(c, s)
		if r != nil {
			return r
		}
		c.Kind, c.Float = tabular.Float, f(v)
		return nil
	}
}

func defaultStep(argument string) (step, error) {
	text := []byte(argument)
	return func(c *tabular.Cell, _ *scratch) *Rejection {
		if c.Kind == tabular.Null {
			set(c, text)
		}
		return nil
	}, nil
}

func prefixStep(argument string) (step, error) {
	return onText(func(text []byte, s *scratch) []byte {
		from := len(s.bytes)
		s.bytes = append(append(s.bytes, argument...), text...)
		return s.bytes[from:len(s.bytes):len(s.bytes)]
	}), nil
}

// number reads a finite number.
func number(c *tabular.Cell, s *scratch) (float64, *Rejection) {
	switch c.Kind {
	case tabular.Int:
		return float64(c.Int), nil
	case tabular.Float:
		if math.IsNaN(c.Float) || math.IsInf(c.Float, 0) {
			return 0, rejectf(ReasonNumber, "", "is to be a number, this is %v", c.Float)
		}
		return c.Float, nil
	}
	text := s.text(c)
	if n, ok := wholeNumber(text); ok {
		return float64(n), nil
	}
	v, err := strconv.ParseFloat(string(bytes.TrimSpace(text)), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, rejectf(ReasonNumber, "", "is to be a number, this is %q", clip(text))
	}
	return v, nil
}

// wholeNumber reads a whole number of up to 18 digits, the usual case, without detours.
func wholeNumber(text []byte) (int64, bool) {
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	if len(text) == 0 || len(text) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// whole reads a whole number, also one written as 4.0 or 4e3, between two bounds.
func whole(c *tabular.Cell, s *scratch, least, most int64) (int64, *Rejection) {
	n, ok := c.Int, c.Kind == tabular.Int
	if c.Kind == tabular.Text {
		n, ok = wholeNumber(c.Text)
	}
	if !ok {
		v, r := number(c, s)
		if r != nil {
			return 0, r
		}
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return 0, rejectf(ReasonNumber, "", "is to be a whole number, this is %v", v)
		}
		n = int64(v)
	}
	if n < least || n > most {
		return 0, rejectf(ReasonRange, "", "is to be between %d and %d, this is %d", least, most, n)
	}
	return n, nil
}

// truth reads yes or no.
func truth(c *tabular.Cell, s *scratch) (bool, *Rejection) {
	switch strings.ToLower(string(s.text(c))) {
	case "true", "t", "yes", "y", "1", "1.0":
		return true, nil
	case "false", "f", "no", "n", "0", "0.0":
		return false, nil
	}
	return false, rejectf(ReasonWord, "", "is to be true or false, this is %q", clip(s.text(c)))
}
