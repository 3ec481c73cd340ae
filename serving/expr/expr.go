package expr

import (
	"fmt"
	"math"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"marquee/catalog/changes"
)

// Filter says whether a title may be in an answer. Its conjuncts are told apart: what hangs on the title alone holds for every
// request until the catalogue changes.
type Filter struct {
	fixed, varying []cel.Program
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
	for _, conjunct := range conjuncts(nil, whole.Expr()) {
		p, err := c.part(whole, conjunct)
		if err != nil {
			return nil, err
		}
		if varies(conjunct) {
			f.varying = append(f.varying, p)
		} else {
			f.fixed = append(f.fixed, p)
		}
	}
	return f, nil
}

// conjuncts appends what stands between the &&.
func conjuncts(list []ast.Expr, e ast.Expr) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		for _, arg := range e.AsCall().Args() {
			list = conjuncts(list, arg)
		}
		return list
	}
	return append(list, e)
}

// varies reports whether an expression hangs on more than the title. A variable of its own that is called as one of the request's
// makes it seem so, which costs time and nothing else.
func varies(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind && (e.AsIdent() == viewerName || e.AsIdent() == nowName) {
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
func (f *Filter) Holds(t *changes.Title) bool { return all(f.fixed, t, nil) }

// HoldsNow reports whether the rest is true of it in a request.
func (f *Filter) HoldsNow(t *changes.Title, r *Request) bool { return all(f.varying, t, r) }

func all(parts []cel.Program, t *changes.Title, r *Request) bool {
	for _, p := range parts {
		// Without a value it is not true.
		if v, _, err := p.Eval(newVariables(t, r)); err != nil || v != types.True {
			return false
		}
	}
	return true
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
