package movielens

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// rating is one row of a ratings file, 20 bytes of it: the largest set has 32 million.
type rating struct {
	user, movie uint32
	// at is the timestamp in seconds since the Unix epoch.
	at uint32
	// line is the row's line in its file.
	line uint32
	// halfStars is 1 to 10.
	halfStars uint8
}

// movie is one row of a movies file.
type movie struct {
	id     uint32
	name   string
	year   int32
	genres []string
	// line is the row's line in its file.
	line int
}

// problem is why a row was refused.
type problem struct {
	reason Reason
	detail string
}

func (p *problem) Error() string { return string(p.reason) + ": " + p.detail }

func problemf(reason Reason, format string, args ...any) *problem {
	return &problem{reason: reason, detail: fmt.Sprintf(format, args...)}
}

// splitRating cuts a row into its four fields.
type splitRating func(row []byte) (user, movie, stars, at []byte, ok bool)

// splitBy cuts at a separator of any length; a row with more or fewer fields than four is not ok.
func splitBy(separator string) splitRating {
	sep := []byte(separator)
	return func(row []byte) (user, movie, stars, at []byte, ok bool) {
		var ok1, ok2, ok3 bool
		user, row, ok1 = bytes.Cut(row, sep)
		movie, row, ok2 = bytes.Cut(row, sep)
		stars, at, ok3 = bytes.Cut(row, sep)
		return user, movie, stars, at, ok1 && ok2 && ok3 && !bytes.Contains(at, sep)
	}
}

// parseRating reads one row of a ratings file. Timestamps are right from 1 to latest, in seconds since the Unix epoch.
func (l layout) parseRating(row []byte, latest int64) (rating, *problem) {
	user, movieID, stars, at, ok := l.split(row)
	if !ok {
		return rating{}, problemf(ReasonMalformed, "a row is %s, this is %q", l.ratingForm, clip(row))
	}
	var r rating
	var p *problem
	if r.user, p = parseID("user", user); p != nil {
		return rating{}, p
	}
	if r.movie, p = parseID("movie", movieID); p != nil {
		return rating{}, p
	}
	if r.halfStars, ok = parseStars(stars); !ok || (!l.halfStars && r.halfStars%2 != 0) {
		return rating{}, problemf(ReasonRating, "a rating is %s, this is %q", l.starsForm, clip(stars))
	}
	seconds, err := strconv.ParseInt(string(at), 10, 64)
	if err != nil {
		return rating{}, problemf(ReasonTimestamp, "a timestamp is whole seconds since 1970, this is %q", clip(at))
	}
	if seconds < 1 || seconds > latest {
		hint := ""
		if seconds > latest && seconds/1000 <= latest {
			hint = "; it looks like milliseconds"
		}
		return rating{}, problemf(ReasonTimestamp, "a timestamp is seconds since 1970, after it and not in the future, this is %d%s", seconds, hint)
	}
	r.at = uint32(seconds)
	return r, nil
}

func parseID(what string, text []byte) (uint32, *problem) {
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil || n == 0 || text[0] == '+' {
		return 0, problemf(ReasonMalformed, "a %s id is a whole number from 1, this is %q", what, clip(text))
	}
	return uint32(n), nil
}

// parseStars reads "4", "4.0" or "3.5" as half stars from 1 to 10.
func parseStars(text []byte) (halfStars uint8, ok bool) {
	if len(text) == 0 || text[0] < '0' || text[0] > '5' {
		return 0, false
	}
	halfStars = (text[0] - '0') * 2
	switch string(text[1:]) {
	case "", ".0":
	case ".5":
		halfStars++
	default:
		return 0, false
	}
	return halfStars, halfStars >= 1 && halfStars <= 10
}

// parseMovie100K reads a row of u.item: id, name, two release dates, an address and 19 genre flags.
func parseMovie100K(row []byte) (movie, *problem) {
	text, p := latin1(row)
	if p != nil {
		return movie{}, p
	}
	fields := strings.Split(text, "|")
	genres := genres100K()
	if len(fields) != 5+len(genres) {
		return movie{}, problemf(ReasonMalformed, "a row has %d fields separated by |, this has %d: %q", 5+len(genres), len(fields), clip(row))
	}
	var of []string
	for i, genre := range genres {
		switch fields[5+i] {
		case "1":
			if genre != "" {
				of = append(of, genre)
			}
		case "0":
		default:
			return movie{}, problemf(ReasonMalformed, "a genre flag is 0 or 1, field %d is %q", 6+i, clip([]byte(fields[5+i])))
		}
	}
	return newMovie(fields[0], fields[1], of)
}

// genres100K names the flags of u.item in order; the first means that the genre is unknown.
func genres100K() []string {
	return []string{"", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
		"Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"}
}

// parseMovie1M reads a row of movies.dat: id::name::genre|genre.
func parseMovie1M(row []byte) (movie, *problem) {
	text, p := latin1(row)
	if p != nil {
		return movie{}, p
	}
	fields := strings.Split(text, "::")
	if len(fields) != 3 {
		return movie{}, problemf(ReasonMalformed, "a row is movie::name::genre|genre, this is %q", clip(row))
	}
	return newMovie(fields[0], fields[1], splitGenres(fields[2]))
}

// parseMovieCSV reads a row of movies.csv: id,name,genre|genre with quotes where a name has a comma.
func parseMovieCSV(row []byte) (movie, *problem) {
	if !utf8.Valid(row) {
		return movie{}, problemf(ReasonEncoding, "the published file is UTF-8, this row is not: %q", clip(row))
	}
	r := csv.NewReader(bytes.NewReader(row))
	r.FieldsPerRecord = 3
	fields, err := r.Read()
	if err != nil {
		return movie{}, problemf(ReasonMalformed, "a row is movie,name,genre|genre (quoted as CSV is), this is %q", clip(row))
	}
	return newMovie(fields[0], fields[1], splitGenres(fields[2]))
}

func splitGenres(text string) []string {
	if text == "" || text == "(no genres listed)" {
		return nil
	}
	return strings.Split(text, "|")
}

// latin1 decodes a row of the older sets. Text of those is practically never valid UTF-8 by chance, so a row that is was
// converted, and would be read as gibberish.
func latin1(row []byte) (string, *problem) {
	ascii := true
	for _, c := range row {
		if c >= 0x80 {
			ascii = false
		}
		if c >= 0x80 && c < 0xa0 {
			return "", problemf(ReasonEncoding, "the published file is Latin-1 (ISO 8859-1), this row is in another encoding: %q", clip(row))
		}
	}
	if ascii {
		return string(row), nil
	}
	if utf8.Valid(row) {
		return "", problemf(ReasonEncoding, "the published file is Latin-1 (ISO 8859-1), this row is UTF-8: %q", clip(row))
	}
	text, err := charmap.ISO8859_1.NewDecoder().Bytes(row)
	if err != nil {
		return "", problemf(ReasonEncoding, "not Latin-1: %v", err)
	}
	return string(text), nil
}

// yearAtEnd finds the year a name ends with: (1995), (1994-), (2006–2007).
var yearAtEnd = regexp.MustCompile(`\s*\((\d{4})(?:\s*[-–]\s*(?:\d{4})?\s*)?\)\s*$`)

// The contract's limits on a title.
const (
	maxName   = 1024
	maxGenre  = 128
	maxGenres = 64
)

func newMovie(id, name string, genres []string) (movie, *problem) {
	n, p := parseID("movie", []byte(id))
	if p != nil {
		return movie{}, p
	}
	m := movie{id: n, name: strings.TrimSpace(name), genres: genres}
	if at := yearAtEnd.FindStringSubmatchIndex(m.name); at != nil && at[0] > 0 {
		year, err := strconv.Atoi(m.name[at[2]:at[3]])
		if err == nil && year >= 1870 && year < 2100 {
			m.year, m.name = int32(year), strings.TrimSpace(m.name[:at[0]])
		}
	}
	if m.name == "" || len(m.name) > maxName {
		return movie{}, problemf(ReasonMalformed, "a name has 1 to %d bytes, this has %d", maxName, len(m.name))
	}
	if len(genres) > maxGenres {
		return movie{}, problemf(ReasonMalformed, "a movie has at most %d genres, this has %d", maxGenres, len(genres))
	}
	for _, g := range genres {
		if g == "" || len(g) > maxGenre {
			return movie{}, problemf(ReasonMalformed, "a genre has 1 to %d bytes, one has %d", maxGenre, len(g))
		}
	}
	return m, nil
}

// clip keeps a row short in a message.
func clip(b []byte) []byte {
	const limit = 120
	return b[:min(len(b), limit)]
}
