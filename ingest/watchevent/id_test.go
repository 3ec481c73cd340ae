package watchevent

import (
	"strings"
	"testing"
)

func TestEveryByteOfAnID(t *testing.T) {
	const id = "01930d5e-5c00-7abc-8def-0123456789ab"
	parsed, ok := ParseID(id)
	if !ok || FormatID(parsed) != id || !IsID(id) {
		t.Fatalf("%s is read as %x, %v", id, parsed, ok)
	}
	for at := range len(id) {
		for c := range 256 {
			text := id[:at] + string([]byte{byte(c)}) + id[at+1:]
			digit := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
			want := digit
			if id[at] == '-' {
				want = c == '-'
			}
			if parsed, ok := ParseID(text); ok != want || ok && FormatID(parsed) != text {
				t.Errorf("%q: read %v, want %v", text, ok, want)
			}
		}
	}
	for _, text := range []string{"", id[1:], id + "0", strings.ToUpper(id), strings.Replace(id, "-7", "-4", 1), strings.Replace(id, "-8", "-c", 1)} {
		if IsID(text) {
			t.Errorf("%q passes for a version-7 UUID in lower case", text)
		}
	}
}
