package expr

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"marquee/catalog/changes"
	catalogv1 "marquee/catalog/v1"
)

// What an expression sees, by name and type.
const (
	titleName, viewerName, nowName = "title", "viewer", "now"
	titleType, viewerType          = "Title", "Viewer"
)

// Request is what an expression sees besides titles.
type Request struct {
	Country, DeviceClass string
	// MaxMaturityAge is the viewer's limit; negative for none.
	MaxMaturityAge int
	// Now is in microseconds since the Unix epoch.
	Now int64
}

// field is one that an expression may ask for.
type field struct {
	name string
	kind *types.Type
	// get returns the value, or false where there is none.
	get func(of any) (any, bool)
}

// errUnknown is why a field has no value.
var errUnknown = errors.New("is not known")

func ofTitle(get func(t *changes.Title) (any, bool)) func(any) (any, bool) {
	return func(of any) (any, bool) {
		t, ok := of.(*changes.Title)
		if !ok {
			return nil, false
		}
		return get(t)
	}
}

func ofRequest(get func(r *Request) (any, bool)) func(any) (any, bool) {
	return func(of any) (any, bool) {
		r, ok := of.(*Request)
		if !ok {
			return nil, false
		}
		return get(r)
	}
}

// fields are those of a type, in the order they are told in.
func fields(typeName string) []field {
	switch typeName {
	case titleType:
		return titleFields()
	case viewerType:
		return []field{
			{"country", types.StringType, ofRequest(func(r *Request) (any, bool) { return r.Country, true })},
			{"device_class", types.StringType, ofRequest(func(r *Request) (any, bool) { return r.DeviceClass, true })},
			{"max_maturity_age", types.IntType, ofRequest(func(r *Request) (any, bool) { return int64(r.MaxMaturityAge), r.MaxMaturityAge >= 0 })},
		}
	}
	return nil
}

func titleFields() []field {
	return []field{
		{"id", types.StringType, ofTitle(func(t *changes.Title) (any, bool) { return t.ID, true })},
		{"name", types.StringType, ofTitle(func(t *changes.Title) (any, bool) { return t.Name, true })},
		{"kind", types.StringType, ofTitle(func(t *changes.Title) (any, bool) { return kindName(t.Kind), true })},
		{"language", types.StringType, ofTitle(func(t *changes.Title) (any, bool) { return t.Language, true })},
		{"year", types.IntType, ofTitle(func(t *changes.Title) (any, bool) { return int64(t.Year), t.Year != 0 })},
		{"maturity_age", types.IntType, ofTitle(func(t *changes.Title) (any, bool) { return int64(t.MaturityAge), t.MaturityAge != changes.Unrated })},
		{"added_at", types.TimestampType, ofTitle(func(t *changes.Title) (any, bool) { return time.UnixMicro(t.AddedAt).UTC(), t.AddedAt != 0 })},
		{"runtime", types.DurationType, ofTitle(func(t *changes.Title) (any, bool) {
			return time.Duration(t.RuntimeMS) * time.Millisecond, t.RuntimeMS > 0
		})},
		{"genres", types.NewListType(types.StringType), ofTitle(func(t *changes.Title) (any, bool) { return t.Genres, true })},
		{"episodes", types.IntType, ofTitle(func(t *changes.Title) (any, bool) { return int64(len(t.Episodes)), true })},
	}
}

// kindName is the contract's name in lower case, as in film and series.
func kindName(k catalogv1.TitleKind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "TITLE_KIND_"))
}

func fieldNames(typeName string) string {
	var names []string
	for _, f := range fields(typeName) {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

// provider tells the checker and the evaluation of the types above; the rest is CEL's own.
type provider struct{ types.Provider }

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if fields(name) != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	if list := fields(name); list != nil {
		names := make([]string, len(list))
		for i, f := range list {
			names[i] = f.name
		}
		return names, true
	}
	return p.Provider.FindStructFieldNames(name)
}

func (p provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	list := fields(name)
	if list == nil {
		return p.Provider.FindStructFieldType(name, fieldName)
	}
	for _, f := range list {
		if f.name != fieldName {
			continue
		}
		return &types.FieldType{
			Type: f.kind,
			IsSet: func(of any) bool {
				_, ok := f.get(of)
				return ok
			},
			GetFrom: func(of any) (any, error) {
				v, ok := f.get(of)
				if !ok {
					return nil, fmt.Errorf("%s %w", fieldName, errUnknown)
				}
				return v, nil
			},
		}, true
	}
	return nil, false
}

func (p provider) NewValue(name string, values map[string]ref.Val) ref.Val {
	if fields(name) != nil {
		return types.NewErr("a %s cannot be made in an expression", name)
	}
	return p.Provider.NewValue(name, values)
}

// object is a title or a viewer in an expression.
type object struct {
	of   any
	name string // of its type
}

func (o *object) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("a %s cannot become a %s", o.name, to)
}

func (o *object) ConvertToType(to ref.Type) ref.Val {
	if to == types.TypeType {
		return types.NewObjectType(o.name)
	}
	return types.NewErr("a %s cannot become a %s", o.name, to.TypeName())
}

func (o *object) Equal(other ref.Val) ref.Val {
	x, ok := other.(*object)
	return types.Bool(ok && x.of == o.of)
}

func (o *object) Type() ref.Type { return types.NewObjectType(o.name) }

func (o *object) Value() any { return o.of }

func timestamp(micros int64) types.Timestamp {
	return types.Timestamp{Time: time.UnixMicro(micros).UTC()}
}
