package sqltoken

import "strings"

// Class says how a statement is to be run.
type Class uint8

const (
	// Other is a statement whose result, if any, is small: DDL, SHOW, SET, INSERT from a query.
	Other Class = iota
	// Query gives rows: SELECT, or WITH … SELECT.
	Query
	// Insert takes data, from the statement's own text or from beside it.
	Insert
	// Session is a statement that changes its session and nothing else: SET, USE, CREATE TEMPORARY, BEGIN.
	Session
)

// Statement is what Classify finds.
type Statement struct {
	Class Class
	// Target is the statement up to the data's format: INSERT INTO t (a, b). Only for Insert.
	Target string
	// Format is the data's format, as the statement names it or Values. Only for Insert.
	Format string
	// Data is the data in the statement's own text, behind VALUES or FORMAT name. Only for Insert.
	Data string
}

// Classify tells what a statement is. It never fails: what it does not know is Other, for the engine to judge.
func Classify(sql string) Statement {
	w := walker{sql: sql}
	first := w.word()
	switch first {
	case "SELECT", "(":
		return Statement{Class: Query}
	case "WITH":
		return w.with()
	case "INSERT":
		return w.insert()
	case "SET", "USE", "BEGIN", "COMMIT", "ROLLBACK":
		return Statement{Class: Session}
	case "CREATE", "REPLACE", "ATTACH":
		return w.create()
	}
	return Statement{}
}

// FirstWord is the word that a statement begins with, in upper case, or the first character that is none.
func FirstWord(sql string) string {
	w := walker{sql: sql}
	return w.word()
}

// walker steps over the words and punctuation of a statement, past spaces and comments, keeping count of brackets.
type walker struct {
	sql   string
	at    int
	start int // of the last word
	depth int
}

// word returns the next word in upper case or the next other token as it stands; nothing at the end.
func (w *walker) word() string {
	for {
		t, ok := Next(w.sql, w.at)
		if !ok {
			return ""
		}
		w.start, w.at = t.Start, t.End
		text := w.sql[t.Start:t.End]
		switch t.Kind {
		case Space, Comment:
			continue
		case Word:
			return strings.ToUpper(text)
		case Punctuation:
			switch text {
			case "(", "[", "{":
				w.depth++
			case ")", "]", "}":
				w.depth--
			}
		}
		return text
	}
}

// with tells WITH … SELECT from WITH … INSERT INTO … SELECT: what comes first outside of brackets decides.
func (w *walker) with() Statement {
	previous := ""
	for word := w.word(); word != ""; word = w.word() {
		if w.depth == 0 && word == "INTO" && previous == "INSERT" {
			return Statement{}
		}
		if w.depth == 0 && word == "SELECT" {
			break
		}
		previous = word
	}
	return Statement{Class: Query}
}

// create tells what is made for the session from what is made for all: TEMPORARY stands right behind CREATE or CREATE OR
// REPLACE.
func (w *walker) create() Statement {
	word := w.word()
	for word == "OR" || word == "REPLACE" {
		word = w.word()
	}
	if word == "TEMPORARY" {
		return Statement{Class: Session}
	}
	return Statement{}
}

// insert finds what the data of an INSERT is: the first of VALUES, FORMAT, SELECT, WITH and FROM outside of brackets
// behind the table decides.
func (w *walker) insert() Statement {
	previous := ""
	// A table or column may be called like a keyword; the table's name comes right behind INTO, TABLE or a dot.
	for word := w.word(); word != ""; word = w.word() {
		name := previous == "INTO" && word != "TABLE" && word != "FUNCTION" || previous == "TABLE" || previous == "." || previous == "FUNCTION"
		previous = word
		if w.depth != 0 || name {
			continue
		}
		switch word {
		case "VALUES":
			return Statement{Class: Insert, Target: w.sql[:w.start], Format: "Values", Data: trimEnd(w.sql[w.at:])}
		case "FORMAT":
			target := w.sql[:w.start]
			if w.word() == "" {
				return Statement{}
			}
			return Statement{Class: Insert, Target: target, Format: w.sql[w.start:w.at], Data: dataAfterFormat(w.sql[w.at:])}
		case "SELECT", "WITH", "FROM", "WATCH":
			return Statement{}
		}
	}
	return Statement{}
}

// dataAfterFormat is what stands behind FORMAT name: the rest of the line is skipped when it is blank, as it is there to
// separate statement and data; a lone semicolon ends the statement.
func dataAfterFormat(rest string) string {
	trimmed := strings.TrimLeft(rest, " \t\r")
	switch {
	case strings.HasPrefix(trimmed, "\n"):
		return trimmed[1:]
	case strings.TrimSpace(rest) == ";":
		return ""
	}
	return strings.TrimLeft(rest, " \t\r\n")
}

// trimEnd takes a closing semicolon off VALUES data.
func trimEnd(data string) string {
	return strings.TrimSuffix(strings.TrimRight(data, " \t\r\n"), ";")
}

// Split cuts a script into its statements at the semicolons outside of strings and comments. Statements of nothing but
// space and comments are left out.
func Split(script string) []string {
	var out []string
	begin, blank := 0, true
	cut := func(end int) {
		if !blank {
			out = append(out, strings.TrimSpace(script[begin:end]))
		}
		blank = true
	}
	for at := 0; ; {
		t, ok := Next(script, at)
		if !ok {
			cut(len(script))
			return out
		}
		at = t.End
		switch {
		case t.Kind == Punctuation && script[t.Start] == ';':
			cut(t.Start)
			begin = t.End
		case t.Kind != Space && t.Kind != Comment:
			blank = false
		}
	}
}
