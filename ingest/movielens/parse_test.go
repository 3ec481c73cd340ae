package movielens

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const latest = 1_800_000_000

func layoutNamed(t testing.TB, name string) layout {
	t.Helper()
	for _, l := range layouts() {
		if l.name == name {
			return l
		}
	}
	t.Fatalf("no layout %s", name)
	return layout{}
}

func TestParseRating(t *testing.T) {
	for _, tt := range []struct {
		layout, row string
		want        rating
		reason      Reason
		says        string
	}{
		{layout: "ml-100k", row: "196\t242\t3\t881250949", want: rating{user: 196, movie: 242, halfStars: 6, at: 881250949}},
		{layout: "ml-1m", row: "1::1193::5::978300760", want: rating{user: 1, movie: 1193, halfStars: 10, at: 978300760}},
		{layout: "ml-latest", row: "1,31,2.5,1260759144", want: rating{user: 1, movie: 31, halfStars: 5, at: 1260759144}},
		{layout: "ml-latest", row: "1,31,0.5,1260759144", want: rating{user: 1, movie: 31, halfStars: 1, at: 1260759144}},
		{layout: "ml-latest", row: "1,31,0,1260759144", reason: ReasonRating, says: "steps of half a star"},
		{layout: "ml-latest", row: "1,31,5.5,1260759144", reason: ReasonRating},
		{layout: "ml-latest", row: "1,31,3.7,1260759144", reason: ReasonRating},
		{layout: "ml-1m", row: "1::1193::3.5::978300760", reason: ReasonRating, says: "whole number from 1 to 5"},
		{layout: "ml-1m", row: "1::1193::6::978300760", reason: ReasonRating},
		{layout: "ml-1m", row: "1::1193::5", reason: ReasonMalformed, says: "user::movie::rating::timestamp"},
		{layout: "ml-1m", row: "1::1193::5::978300760::x", reason: ReasonMalformed},
		{layout: "ml-100k", row: "1::1193::5::978300760", reason: ReasonMalformed, says: "tabs"},
		{layout: "ml-1m", row: "0::1193::5::978300760", reason: ReasonMalformed, says: "user id is a whole number from 1"},
		{layout: "ml-1m", row: "1::+7::5::978300760", reason: ReasonMalformed},
		{layout: "ml-1m", row: "1::99999999999::5::978300760", reason: ReasonMalformed, says: "movie id"},
		{layout: "ml-1m", row: "1::1193::5::yesterday", reason: ReasonTimestamp, says: "whole seconds"},
		{layout: "ml-1m", row: "1::1193::5::0", reason: ReasonTimestamp},
		{layout: "ml-1m", row: "1::1193::5::978300760000", reason: ReasonTimestamp, says: "looks like milliseconds"},
		{layout: "ml-1m", row: "1::1193::5::1900000000", reason: ReasonTimestamp, says: "not in the future"},
	} {
		got, p := layoutNamed(t, tt.layout).parseRating([]byte(tt.row), latest)
		if tt.reason == "" {
			if p != nil || got != tt.want {
				t.Errorf("%q: %+v (%v), want %+v", tt.row, got, p, tt.want)
			}
			continue
		}
		if p == nil || p.reason != tt.reason || !strings.Contains(p.detail, tt.says) {
			t.Errorf("%q: %v, want %s … %s", tt.row, p, tt.reason, tt.says)
		}
	}
}

func TestParseMovie(t *testing.T) {
	flags := func(set ...int) string {
		f := strings.Split(strings.Repeat("0", 19), "")
		for _, i := range set {
			f[i] = "1"
		}
		return strings.Join(f, "|")
	}
	for _, tt := range []struct {
		layout, row string
		want        movie
		reason      Reason
		says        string
	}{
		{layout: "ml-100k", row: "1|Toy Story (1995)|01-Jan-1995||http://x|" + flags(3, 4, 5), want: movie{id: 1, name: "Toy Story", year: 1995, genres: []string{"Animation", "Children's", "Comedy"}}},
		{layout: "ml-100k", row: "267|unknown||||" + flags(0), want: movie{id: 267, name: "unknown"}},
		{layout: "ml-100k", row: "5|Mis\xe9rables, Les (1995)|||x|" + flags(8), want: movie{id: 5, name: "Misérables, Les", year: 1995, genres: []string{"Drama"}}},
		{layout: "ml-100k", row: "5|Misérables, Les (1995)|||x|" + flags(8), reason: ReasonEncoding, says: "this row is UTF-8"},
		{layout: "ml-100k", row: "5|Mis\x82rables (1995)|||x|" + flags(8), reason: ReasonEncoding, says: "another encoding"},
		{layout: "ml-100k", row: "5|X (1995)|||x|0|0", reason: ReasonMalformed, says: "24 fields"},
		{layout: "ml-100k", row: "5|X (1995)|||x|" + strings.Replace(flags(), "0", "2", 1), reason: ReasonMalformed, says: "0 or 1"},
		{layout: "ml-1m", row: "73::Mis\xe9rables, Les (1995)::Drama|Musical", want: movie{id: 73, name: "Misérables, Les", year: 1995, genres: []string{"Drama", "Musical"}}},
		{layout: "ml-1m", row: "73::X", reason: ReasonMalformed, says: "movie::name::genre|genre"},
		{layout: "ml-1m", row: "73::::Drama", reason: ReasonMalformed, says: "1 to 1024 bytes"},
		{layout: "ml-latest", row: `11,"American President, The (1995)",Comedy|Drama`, want: movie{id: 11, name: "American President, The", year: 1995, genres: []string{"Comedy", "Drama"}}},
		{layout: "ml-latest", row: `12,"Say ""Hi"" (Dis) (2003)",(no genres listed)`, want: movie{id: 12, name: `Say "Hi" (Dis)`, year: 2003}},
		{layout: "ml-latest", row: "13,Fawlty Towers (1975-1979),Comedy", want: movie{id: 13, name: "Fawlty Towers", year: 1975, genres: []string{"Comedy"}}},
		{layout: "ml-latest", row: "13,Babylon 5 (1994–),Comedy", want: movie{id: 13, name: "Babylon 5", year: 1994, genres: []string{"Comedy"}}},
		{layout: "ml-latest", row: "14,(1941),War", want: movie{id: 14, name: "(1941)", genres: []string{"War"}}},
		{layout: "ml-latest", row: "15,2001: A Space Odyssey,Sci-Fi", want: movie{id: 15, name: "2001: A Space Odyssey", genres: []string{"Sci-Fi"}}},
		{layout: "ml-latest", row: "16,Mis\xe9rables,Drama", reason: ReasonEncoding, says: "published file is UTF-8"},
		{layout: "ml-latest", row: "17,a,b,c", reason: ReasonMalformed},
		{layout: "ml-latest", row: `18,"open,Drama`, reason: ReasonMalformed},
		{layout: "ml-latest", row: "x,a,b", reason: ReasonMalformed, says: "movie id"},
	} {
		got, p := layoutNamed(t, tt.layout).parseMovie([]byte(tt.row))
		if tt.reason == "" {
			if p != nil || !cmp.Equal(got, tt.want, cmp.AllowUnexported(movie{})) {
				t.Errorf("%q: %+v (%v), want %+v", tt.row, got, p, tt.want)
			}
			continue
		}
		if p == nil || p.reason != tt.reason || !strings.Contains(p.detail, tt.says) {
			t.Errorf("%q: %v, want %s … %s", tt.row, p, tt.reason, tt.says)
		}
	}
}

func FuzzParseRating(f *testing.F) {
	f.Add([]byte("196\t242\t3\t881250949"))
	f.Add([]byte("1::1193::5::978300760"))
	f.Add([]byte("1,31,2.5,1260759144"))
	f.Add([]byte("::::::"))
	f.Fuzz(func(t *testing.T, row []byte) {
		for _, l := range layouts() {
			r, p := l.parseRating(row, latest)
			if p != nil {
				if p.reason == "" || p.detail == "" || !utf8.ValidString(p.detail) {
					t.Errorf("%q refused without saying why: %+v", row, p)
				}
				continue
			}
			if r.user == 0 || r.movie == 0 || r.halfStars < 1 || r.halfStars > 10 || r.at < 1 || int64(r.at) > latest {
				t.Errorf("%q gives %+v", row, r)
			}
		}
	})
}

func FuzzParseMovie(f *testing.F) {
	f.Add([]byte("1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0"))
	f.Add([]byte("73::Mis\xe9rables, Les (1995)::Drama|Musical"))
	f.Add([]byte(`11,"American President, The (1995)",Comedy|Drama`))
	f.Fuzz(func(t *testing.T, row []byte) {
		for _, l := range layouts() {
			m, p := l.parseMovie(row)
			if p != nil {
				if p.reason == "" || p.detail == "" || !utf8.ValidString(p.detail) {
					t.Errorf("%q refused without saying why: %+v", row, p)
				}
				continue
			}
			if m.id == 0 || m.name == "" || len(m.name) > maxName || !utf8.ValidString(m.name) || m.year < 0 || m.year > 2100 {
				t.Errorf("%q gives %+v", row, m)
			}
			for _, g := range m.genres {
				if g == "" || !utf8.ValidString(g) {
					t.Errorf("%q gives the genre %q", row, g)
				}
			}
		}
	})
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	in := newLines(strings.NewReader("a\r\n\n" + long + "\nb\nlast"))
	type line struct {
		Number  int
		Text    string
		TooLong bool
	}
	var got []line
	for {
		more, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		got = append(got, line{in.number, string(in.text), in.tooLong})
	}
	want := []line{{1, "a", false}, {2, "", false}, {3, "", true}, {4, "b", false}, {5, "last", false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
