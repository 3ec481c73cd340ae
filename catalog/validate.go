package catalog

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"

	catalogv1 "marquee/catalog/v1"
)

// maxViolations bounds what is said of one title: one mistake may be in each of thousands of episodes.
const maxViolations = 20

// validator holds titles to the contract's rules and to what a store and a topic can carry.
type validator struct {
	rules    protovalidate.Validator
	maxBytes int
}

// batch checks every title and returns the violations by index.
func (v validator) batch(titles []*catalogv1.Title) [][]*catalogv1.FieldViolation {
	out := make([][]*catalogv1.FieldViolation, len(titles))
	first := make(map[string]int, len(titles))
	for i, t := range titles {
		out[i] = v.title(t)
		if j, twice := first[t.GetTitleId()]; twice && t.GetTitleId() != "" {
			out[i] = append(out[i], violation("title_id", "%q is also the title at index %d of this request", t.GetTitleId(), j))
		} else {
			first[t.GetTitleId()] = i
		}
		if len(out[i]) > maxViolations {
			more := len(out[i]) - maxViolations
			out[i] = append(out[i][:maxViolations:maxViolations], violation("", "and %d more", more))
		}
	}
	return out
}

func (v validator) title(t *catalogv1.Title) []*catalogv1.FieldViolation {
	if t == nil {
		return []*catalogv1.FieldViolation{violation("", "title is missing")}
	}
	// Rules about text make no sense of bytes that are none.
	if out := textViolations(t); len(out) > 0 {
		return out
	}
	out := v.ruleViolations(t)
	if t.GetDeleted() {
		out = append(out, violation("deleted", "is set by DeleteTitle; leave it out to store the title or bring it back"))
	}
	if size := proto.Size(t); size > v.maxBytes {
		out = append(out, violation("", "title has %d bytes serialized, must have at most %d", size, v.maxBytes))
	}
	return append(out, repeatedPlayables(t)...)
}

func (v validator) ruleViolations(m proto.Message) []*catalogv1.FieldViolation {
	err := v.rules.Validate(m)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return []*catalogv1.FieldViolation{violation("", "cannot be validated: %v", err)}
	}
	var out []*catalogv1.FieldViolation
	for _, one := range invalid.Violations {
		out = append(out, violation(protovalidate.FieldPathString(one.Proto.GetField()), "%s", one.Proto.GetMessage()))
	}
	return out
}

// textViolations finds text that is not UTF-8, which a wire decoder refuses but a caller in the process may pass, and NUL,
// which PostgreSQL cannot store.
func textViolations(m proto.Message) (out []*catalogv1.FieldViolation) {
	err := protorange.Range(m.ProtoReflect(), func(p protopath.Values) error {
		text, ok := p.Index(-1).Value.Interface().(string)
		switch {
		case !ok:
		case !utf8.ValidString(text):
			out = append(out, violation(fieldPath(p.Path), "%q is not valid UTF-8", clip(text)))
		case strings.Contains(text, "\x00"):
			out = append(out, violation(fieldPath(p.Path), "%q contains a NUL character", clip(text)))
		}
		return nil
	})
	if err != nil {
		out = append(out, violation("", "cannot be read: %v", err))
	}
	return out
}

// fieldPath writes a path as protovalidate does: seasons[0].episodes[2].name.
func fieldPath(path protopath.Path) string {
	var b strings.Builder
	for _, step := range path {
		switch step.Kind() {
		case protopath.FieldAccessStep:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(string(step.FieldDescriptor().Name()))
		case protopath.ListIndexStep:
			fmt.Fprintf(&b, "[%d]", step.ListIndex())
		}
	}
	return b.String()
}

// clip keeps a message readable, and itself valid UTF-8 once quoted.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40]
	}
	return s
}

func repeatedPlayables(t *catalogv1.Title) (out []*catalogv1.FieldViolation) {
	first := make(map[string]string)
	for i, s := range t.GetSeasons() {
		for j, e := range s.GetEpisodes() {
			field := fmt.Sprintf("seasons[%d].episodes[%d].playable_id", i, j)
			if before, twice := first[e.GetPlayableId()]; twice {
				out = append(out, violation(field, "%q is also %s", e.GetPlayableId(), before))
				continue
			}
			first[e.GetPlayableId()] = field
		}
	}
	return out
}

func violation(field, format string, args ...any) *catalogv1.FieldViolation {
	return &catalogv1.FieldViolation{Field: field, Message: fmt.Sprintf(format, args...)}
}

// validText makes a string fit for an answer and a query.
func validText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
