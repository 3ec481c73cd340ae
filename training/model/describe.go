package model

import (
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"marquee/training/model/content"
)

func contentSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "title_id", Type: arrow.BinaryTypes.String},
		{Name: "term", Type: arrow.FixedSizeListOfNonNullable(content.MaxTerms, arrow.PrimitiveTypes.Uint32)},
		{Name: "weight", Type: arrow.FixedSizeListOfNonNullable(content.MaxTerms, arrow.PrimitiveTypes.Float32)},
	}, nil)
}

func termsSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "term", Type: arrow.BinaryTypes.String},
		{Name: "scale", Type: arrow.PrimitiveTypes.Float32},
	}, nil)
}

func writeContent(w io.Writer, t content.Table) error {
	ids := stringColumn(t.Titles)
	defer ids.Release()
	terms := memory.NewBufferBytes(arrow.Uint32Traits.CastToBytes(t.Term))
	schema := contentSchema()
	list := func(field int, values *array.Data) arrow.Array {
		return array.MakeFromData(array.NewData(schema.Field(field).Type, len(t.Titles), []*memory.Buffer{nil}, []arrow.ArrayData{values}, 0, 0))
	}
	return writeBatch(w, schema, len(t.Titles), ids,
		list(1, array.NewData(arrow.PrimitiveTypes.Uint32, len(t.Term), []*memory.Buffer{nil, terms}, nil, 0, 0)), list(2, flat32(t.Weight)))
}

func writeTerms(w io.Writer, t content.Table) error {
	terms := stringColumn(t.Terms)
	defer terms.Release()
	return writeBatch(w, termsSchema(), len(t.Terms), terms, array.MakeFromData(flat32(t.Scales)))
}

func stringColumn(values []string) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(values, nil)
	return b.NewArray()
}

// loadContent reads what the catalogue said of titles, where the bundle has it.
func (b *Bundle) loadContent(dir string) error {
	if _, ok := b.manifest.Files[ContentFile]; !ok {
		return nil
	}
	data, err := b.openMapped(dir, ContentFile)
	if err != nil {
		return err
	}
	var t content.Table
	err = readBatch(data, contentSchema(), b.manifest.Described, func(columns []arrow.Array) (err error) {
		if t.Titles, err = texts(columns[0]); err != nil {
			return err
		}
		if t.Term, err = numbers(columns[1], b.manifest.Described, content.MaxTerms); err != nil {
			return err
		}
		t.Weight, err = vectors[float32](columns[2], b.manifest.Described, content.MaxTerms)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", ContentFile, err)
	}
	if data, err = b.openMapped(dir, TermsFile); err != nil {
		return err
	}
	err = readBatch(data, termsSchema(), b.manifest.Terms, func(columns []arrow.Array) (err error) {
		if t.Terms, err = texts(columns[0]); err != nil {
			return err
		}
		t.Scales, err = plain[float32](columns[1])
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", TermsFile, err)
	}
	if b.content, err = content.Open(t); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// texts copies a column of strings, which may outlive the bundle.
func texts(column arrow.Array) ([]string, error) {
	values, ok := column.(*array.String)
	if !ok {
		return nil, fmt.Errorf("%w: a column of strings is %v", ErrCorrupt, column.DataType())
	}
	out := make([]string, values.Len())
	for i := range out {
		out[i] = strings.Clone(values.Value(i))
	}
	return out, nil
}

// numbers returns the flat values of a column of lists as a slice of the mapped file.
func numbers(column arrow.Array, rows, width int) ([]uint32, error) {
	list, ok := column.(*array.FixedSizeList)
	if !ok || list.Offset() != 0 {
		return nil, fmt.Errorf("%w: not a table of numbers", ErrCorrupt)
	}
	values, ok := list.ListValues().(*array.Uint32)
	if !ok || values.NullN() != 0 || values.Len() < rows*width {
		return nil, fmt.Errorf("%w: not %d rows of %d numbers", ErrCorrupt, rows, width)
	}
	return values.Uint32Values()[: rows*width : rows*width], nil
}
