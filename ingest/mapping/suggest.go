package mapping

import (
	"fmt"
	"slices"
	"strings"
)

// names are what columns for a field are called elsewhere, best first, without case and punctuation.
func names(field string) []string {
	switch field {
	case "profile_id":
		return []string{"profileid", "userid", "user", "uid", "viewerid", "viewer", "memberid", "customerid", "accountid", "profile", "visitorid", "subscriberid"}
	case "title_id":
		return []string{"titleid", "itemid", "item", "movieid", "videoid", "showid", "contentid", "assetid", "programid", "productid", "gameid", "tid", "title", "movie", "video", "show", "game", "id"}
	case "occurred_at":
		return []string{"occurredat", "timestamp", "time", "ts", "eventtime", "timems", "datetime", "createdat", "watchedat", "startedat", "playedat", "date", "day"}
	case "watched_ms":
		return []string{"watchedms", "playduration", "playtimems", "watchtime", "watchedseconds", "watchduration", "playingtime", "playtime", "hours", "hoursplayed", "minutes", "seconds", "watchratio"}
	case "duration_ms":
		return []string{"durationms", "videoduration", "duration", "runtime", "length", "contentduration", "runtimems"}
	case "type":
		return []string{"type", "eventtype", "event", "action", "behavior", "behaviour", "interaction"}
	case "name":
		return []string{"name", "title", "titlename", "primarytitle", "caption", "movie", "game"}
	case "genres":
		return []string{"genres", "genre", "listedin", "categories", "category", "tags"}
	case "kind":
		return []string{"kind", "type", "titletype"}
	}
	return []string{plain(field)}
}

// plain is a name without case and punctuation.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r >= 0x80:
			return r
		}
		return -1
	}, name)
}

// suggest finds the column a field is likely in, or "".
func suggest(field string, columns []string) string {
	for _, known := range names(field) {
		for _, c := range columns {
			if plain(c) == known {
				return c
			}
		}
	}
	return nearest(field, columns)
}

// unmapped is the error for a field that needs an expression and has none.
func (p *program) unmapped(field, constant string) error {
	text := fmt.Sprintf("%s is not mapped", field)
	column := suggest(field, p.have)
	switch {
	case column != "" && constant != "":
		text += fmt.Sprintf(": say %s=%s, or %s==%s for all rows", field, column, field, constant)
	case column != "":
		text += fmt.Sprintf(": is it %s=%s?", field, column)
	case constant != "":
		text += fmt.Sprintf(": say which column it is in, or %s==%s for all rows", field, constant)
	}
	return fmt.Errorf("%s The columns are %s", strings.TrimSuffix(text, ".")+".", strings.Join(p.have, ", "))
}

// didYouMean is ", did you mean …?" where something is near, else "".
func didYouMean(name string, known []string) string {
	if n := nearest(name, known); n != "" {
		return fmt.Sprintf(" (nearest is %q)", n)
	}
	return ""
}

// nearest finds the name with the fewest edits, if they are few.
func nearest(name string, known []string) string {
	best, least := "", max(2, len(plain(name))/3)+1
	if len(plain(name)) <= 3 {
		least = 2
	}
	for _, k := range known {
		if d := distance(plain(name), plain(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], slices.Min([]int{row[j+1] + 1, row[j] + 1, before + cost})
		}
	}
	return row[len(b)]
}
