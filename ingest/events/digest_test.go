package events

import (
	"reflect"
	"testing"
)

// TestEveryColumnCounts changes one field of a row after the other: each must change the content's digest.
func TestEveryColumnCounts(t *testing.T) {
	digest := func(r Row) string {
		var d Digest
		d.Add(&r)
		return d.Content.String()
	}
	one := uint32(1)
	seen := map[string]string{digest(Row{}): "nothing"}
	for i := range reflect.TypeFor[Row]().NumField() {
		var r Row
		switch f := reflect.ValueOf(&r).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Int64, reflect.Int32:
			f.SetInt(1)
		case reflect.Uint32:
			f.SetUint(1)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Pointer:
			f.Set(reflect.ValueOf(&one))
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Array:
			f.Index(0).SetUint(1)
		default:
			t.Fatalf("a column of kind %s", f.Kind())
		}
		name := reflect.TypeFor[Row]().Field(i).Name
		sum := digest(r)
		if other, ok := seen[sum]; ok {
			t.Errorf("a row with %s has the digest of one with %s", name, other)
		}
		seen[sum] = name
	}
}
