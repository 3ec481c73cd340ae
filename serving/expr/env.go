// Package expr compiles what a caller writes of titles in CEL (the Common Expression Language, https://cel.dev): filters, which
// say whether a title may be in an answer, and boosts, by which its score is multiplied.
//
// An expression sees title (id, name, kind, language, year, maturity_age, added_at, runtime, genres, episodes), viewer (country,
// device_class, max_maturity_age) and now. It is checked before it runs: an unknown field, a comparison of different types or an
// expression that could take long is an error that says where. A field the catalogue does not know for a title, as the year of one
// that has none, has no value: asking for it makes a filter leave the title out, unless the expression asks has(title.year) first.
package expr

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/types"
)

// ErrExpression is wrapped where an expression is not right. What is wrong with it follows, with its place.
var ErrExpression = errors.New("expression")

const (
	// maxBytes bounds an expression's text.
	maxBytes = 4096
	// maxDepth bounds how deep it may nest.
	maxDepth = 32
	// maxCost bounds what one evaluation may cost, in CEL's own measure: about a step of the evaluation each.
	maxCost = 20_000
	// mostItems and mostBytes are what the estimate of that takes lists and texts of a title to have at most.
	mostItems, mostBytes = 32, 128
)

// Compiler compiles expressions and remembers those it met last. It is safe for concurrent use.
type Compiler struct {
	env     *cel.Env
	filters *Recent[string, compiled[*Filter]]
	boosts  *Recent[string, compiled[*Boost]]
}

// compiled is what became of a text: wrong ones are remembered too, since whoever sends one sends it again.
type compiled[T any] struct {
	value T
	err   error
}

// remembered is how many expressions of a kind a compiler remembers at least.
const remembered = 512

// NewCompiler makes a compiler.
func NewCompiler() (*Compiler, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("set up expressions: %w", err)
	}
	env, err := cel.NewEnv(
		cel.CustomTypeAdapter(registry),
		cel.CustomTypeProvider(provider{registry}),
		cel.Variable(titleName, types.NewObjectType(titleType)),
		cel.Variable(viewerName, types.NewObjectType(viewerType)),
		cel.Variable(nowName, cel.TimestampType),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserExpressionSizeLimit(maxBytes),
	)
	if err != nil {
		return nil, fmt.Errorf("set up expressions: %w", err)
	}
	return &Compiler{
		env: env, filters: NewRecent[string, compiled[*Filter]](remembered), boosts: NewRecent[string, compiled[*Boost]](remembered),
	}, nil
}

// check parses and type-checks a text, whose value must be of one of the kinds.
func (c *Compiler) check(text string, want string, kinds ...*types.Type) (*cel.Ast, error) {
	if len(text) > maxBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d", ErrExpression, len(text), maxBytes)
	}
	a, issues := c.env.Compile(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("%w: %s", ErrExpression, describe(issues.Errors(), strings.Contains(text, "\n")))
	}
	fits := false
	for _, k := range kinds {
		fits = fits || a.OutputType().IsExactType(k)
	}
	if !fits {
		return nil, fmt.Errorf("%w: its value must be %s, is %s", ErrExpression, want, a.OutputType())
	}
	cost, err := c.env.EstimateCost(a, sizes{})
	if err != nil {
		return nil, fmt.Errorf("%w: its cost cannot be told: %w", ErrExpression, err)
	}
	if cost.Max > maxCost {
		return nil, fmt.Errorf("%w: it may take %d steps for a title, at most %d: nest fewer lists, or match shorter patterns", ErrExpression, cost.Max, maxCost)
	}
	return a, nil
}

// describe says what is wrong, and in which column.
func describe(errs []*common.Error, lines bool) string {
	var out []string
	for _, e := range errs {
		place := fmt.Sprintf("column %d", max(e.Location.Column()+1, 1))
		if lines {
			place = fmt.Sprintf("line %d, %s", e.Location.Line(), place)
		}
		message := e.Message
		switch {
		case strings.Contains(message, "undefined field"):
			message += ": title has " + fieldNames(titleType) + "; viewer has " + fieldNames(viewerType)
		case strings.Contains(message, "undeclared reference"):
			message, _, _ = strings.Cut(message, " (in container")
			message += ": there are title, viewer and now"
		}
		out = append(out, place+": "+message)
	}
	return strings.Join(out, "; ")
}

// sizes are how large a title's fields are at most, for the estimate of costs.
type sizes struct{}

func (sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	if len(element.Path()) == 0 {
		return nil
	}
	switch element.Type().Kind() {
	case types.ListKind:
		return &checker.SizeEstimate{Max: mostItems}
	case types.StringKind:
		return &checker.SizeEstimate{Max: mostBytes}
	}
	return nil
}

func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
