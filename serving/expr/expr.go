package expr

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"marquee/catalog/changes"
)

// Filter says whether a title may be in an answer: whether all its clauses hold. They are told apart: those that hang on titles alone
// hold for every request until the catalogue changes.
type Filter struct {
	fixed   []clause
	varying []choice
}

// clause holds when one of its programs is true: in CEL || is true if a side is, whatever became of the other.
type clause []cel.Program

// choice is a clause that hangs on the request too, its sides told apart by what they hang on.
type choice struct {
	request clause  // on the request alone: one evaluation is for all titles
	title   *Filter // on titles alone; without such sides it holds for none
	both    clause
}

// Filter compiles a filter: an expression whose value is a bool.
func (c *Compiler) Filter(text string) (*Filter, error) {
	r := c.filters.Get(text, func() compiled[*Filter] {
		f, err := c.filter(text)
		return compiled[*Filter]{f, err}
	})
	return r.value, r.err
}

func (c *Compiler) filter(text string) (*Filter, error) {
	a, err := c.check(text, "a bool", types.BoolType)
	if err != nil {
		return nil, err
	}
	f := &Filter{}
	whole := a.NativeRep()
	for _, conjunct := range sides(nil, whole.Expr(), operators.LogicalAnd) {
		if err := c.add(f, whole, sides(nil, conjunct, operators.LogicalOr)); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// add puts a clause, what stands between its ||, to a filter.
func (c *Compiler) add(f *Filter, whole *ast.AST, disjuncts []ast.Expr) error {
	var title clause
	var varying choice
	for _, e := range disjuncts {
		p, err := c.part(whole, e)
		if err != nil {
			return err
		}
		switch {
		case !varies(e):
			title = append(title, p)
		case mentions(e, titleName):
			varying.both = append(varying.both, p)
		default:
			varying.request = append(varying.request, p)
		}
	}
	if len(varying.request)+len(varying.both) == 0 {
		f.fixed = append(f.fixed, title)
		return nil
	}
	varying.title = &Filter{fixed: []clause{title}}
	f.varying = append(f.varying, varying)
	return nil
}

// sides appends what stands between the && or ||.
func sides(list []ast.Expr, e ast.Expr, operator string) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operator {
		for _, arg := range e.AsCall().Args() {
			list = sides(list, arg, operator)
		}
		return list
	}
	return append(list, e)
}

// varies reports whether an expression hangs on more than the title.
func varies(e ast.Expr) bool { return mentions(e, viewerName, nowName) }

// mentions reports whether an expression has one of the variables. A variable of its own that is called the same makes it seem so,
// which costs time and nothing else.
func mentions(e ast.Expr, names ...string) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind && slices.Contains(names, strings.TrimPrefix(e.AsIdent(), ".")) {
			found = true
		}
	}))
	return found
}

// part makes a program of a part of a checked expression.
func (c *Compiler) part(whole *ast.AST, e ast.Expr) (cel.Program, error) {
	checked, err := ast.ToProto(ast.NewCheckedAST(ast.NewAST(e, whole.SourceInfo()), whole.TypeMap(), whole.ReferenceMap()))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	p, err := c.env.Program(cel.CheckedExprToAst(checked), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	return p, nil
}

// Fixed reports whether the filter hangs on titles alone.
func (f *Filter) Fixed() bool { return len(f.varying) == 0 }

// Holds reports whether what hangs on the title alone is true of it.
func (f *Filter) Holds(t *changes.Title) bool {
	v := newVariables(t, nil)
	for _, c := range f.fixed {
		if !c.holds(v) {
			return false
		}
	}
	return true
}

// HoldsNow reports whether the rest is true of it in a request.
func (f *Filter) HoldsNow(t *changes.Title, r *Request) bool {
	v := newVariables(t, r)
	for i := range f.varying {
		c := &f.varying[i]
		if !c.request.holds(v) && !c.title.Holds(t) && !c.both.holds(v) {
			return false
		}
	}
	return true
}

// Settle evaluates once what hangs on the request alone. It appends the filters of titles alone of which HoldsNow still hangs, and
// reports whether there is more to it: if not, HoldsNow holds for the titles that all these hold for.
func (f *Filter) Settle(r *Request, rest []*Filter) (also []*Filter, more bool) {
	if len(f.varying) == 0 {
		return rest, false
	}
	v := newVariables(nil, r)
	for i := range f.varying {
		switch c := &f.varying[i]; {
		case c.request.holds(v):
		case len(c.both) > 0:
			more = true
		default:
			rest = append(rest, c.title)
		}
	}
	return rest, more
}

func (c clause) holds(v *variables) bool {
	for _, p := range c {
		// Without a value it is not true.
		if got, _, err := p.Eval(v); err == nil && got == types.True {
			return true
		}
	}
	return false
}

// Boost multiplies a title's score.
type Boost struct {
	program cel.Program
	varying bool
}

// MaxBoost is the most that a boost multiplies by.
const MaxBoost = 1000

// Boost compiles a boost: an expression whose value is a number.
func (c *Compiler) Boost(text string) (*Boost, error) {
	r := c.boosts.Get(text, func() compiled[*Boost] {
		b, err := c.boost(text)
		return compiled[*Boost]{b, err}
	})
	return r.value, r.err
}

func (c *Compiler) boost(text string) (*Boost, error) {
	a, err := c.check(text, "a double or an int", types.DoubleType, types.IntType)
	if err != nil {
		return nil, err
	}
	whole := a.NativeRep()
	p, err := c.part(whole, whole.Expr())
	if err != nil {
		return nil, err
	}
	return &Boost{p, varies(whole.Expr())}, nil
}

// Fixed reports whether the boost hangs on titles alone.
func (b *Boost) Fixed() bool { return !b.varying }

// Of is what a title's score is multiplied by, 0 to MaxBoost: a value outside is taken for the nearest within, and none for 1. Of a
// fixed boost the request may be nil.
func (b *Boost) Of(t *changes.Title, r *Request) float32 {
	v, _, err := b.program.Eval(newVariables(t, r))
	if err != nil {
		return 1
	}
	var x float64
	switch n := v.(type) {
	case types.Double:
		x = float64(n)
	case types.Int:
		x = float64(n)
	}
	if math.IsNaN(x) {
		return 1
	}
	return float32(min(max(x, 0), MaxBoost))
}

// variables are what an evaluation sees.
type variables struct {
	title, viewer object
	now           types.Timestamp
}

func newVariables(t *changes.Title, r *Request) *variables {
	v := &variables{title: object{t, titleType}}
	if r != nil {
		v.viewer = object{r, viewerType}
		v.now = timestamp(r.Now)
	}
	return v
}

// ResolveName finds a variable.
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case titleName:
		return &v.title, true
	case viewerName:
		return &v.viewer, v.viewer.of != nil
	case nowName:
		return v.now, v.viewer.of != nil
	}
	return nil, false
}

// Parent is none.
func (v *variables) Parent() cel.Activation { return nil }
