package changes

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	catalogv1 "marquee/catalog/v1"
)

func encode(t testing.TB, title *catalogv1.Title) []byte {
	t.Helper()
	b, err := proto.Marshal(title)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecode(t *testing.T) {
	good := encode(t, film("f", 3))
	got, err := Decode([]byte("f"), good)
	if err != nil || !proto.Equal(got, film("f", 3)) {
		t.Errorf("Decode = %v, %v", got, err)
	}
	long := strings.Repeat("x", 65)
	tests := []struct {
		name, key string
		value     []byte
		want      string
	}{
		{"null", "f", nil, "no value"},
		{"empty", "f", []byte{}, "title_id has 0 bytes"},
		{"cut off", "f", good[:len(good)-3], "value is not a Title"},
		{"text", "f", []byte("hello"), "value is not a Title"},
		{"other key", "g", good, `key "g" is not the title_id "f"`},
		{"no revision", "f", encode(t, film("f", 0)), "revision 0"},
		{"long id", long, encode(t, film(long, 1)), "has 65 bytes"},
		{"not UTF-8", "\xff", append([]byte{0x0a, 1, 0xff}, 0x70, 1), "value is not a Title"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Decode([]byte(tt.key), tt.value); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decode = %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzDecode holds that whatever the topic contains is a usable title or an error, and that Titles takes any of it.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("f"), encode(f, film("f", 3)))
	f.Add([]byte("s"), encode(f, withdrawn(series("s", 1<<62, "e1", "e2"))))
	f.Add([]byte(""), []byte{})
	f.Add([]byte("f"), []byte("\x0a\x01f\x70\x01\x48\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		title, err := Decode(key, value)
		if err != nil {
			return
		}
		again, err := Decode(key, encode(t, title))
		if err != nil || !proto.Equal(title, again) {
			t.Fatalf("read %v, written and read again %v, %v", title, again, err)
		}
		c := NewTitles()
		apply(t, c, title)
		got, ok := c.Get(string(key))
		if ok == title.GetDeleted() {
			t.Fatalf("found %v with deleted %v", ok, title.GetDeleted())
		}
		if ok && (got.MaturityAge < Unrated || got.Revision != title.GetRevision()) {
			t.Fatalf("kept %+v of %v", got, title)
		}
	})
}
