// Package sqltoken reads ClickHouse SQL as far as telling statements apart needs it: where strings, comments, quoted names
// and heredocs begin and end, and which words stand outside of them.
//
// The lexical rules are those of ClickHouse's own lexer (src/Parsers/Lexer.cpp): backslash escapes and doubled quotes in
// strings and quoted names, -- and # line comments, /* */ block comments that do not nest, $tag$ heredocs.
package sqltoken

// Kind is the kind of a token.
type Kind uint8

// The kinds of tokens.
const (
	Space Kind = iota
	Comment
	Word
	Number
	String
	QuotedName
	Heredoc
	Punctuation
	// Broken is what begins a string, quoted name or comment and never ends it.
	Broken
)

// Token is a run of bytes of the statement.
type Token struct {
	Kind       Kind
	Start, End int
}

// Next reads the token that begins at offset at; ok is false at the end. The tokens of a text follow each other without
// gaps.
func Next(sql string, at int) (t Token, ok bool) {
	if at >= len(sql) {
		return Token{}, false
	}
	kind, end := scan(sql, at)
	return Token{kind, at, end}, true
}

func scan(s string, at int) (Kind, int) {
	c := s[at]
	switch {
	case isSpace(c):
		return Space, run(s, at, isSpace)
	case c == '\'':
		return quoted(s, at, String)
	case c == '"' || c == '`':
		return quoted(s, at, QuotedName)
	case hasAt(s, at, "--") || c == '#' && (hasAt(s, at, "# ") || hasAt(s, at, "#!")):
		return Comment, lineEnd(s, at)
	case hasAt(s, at, "/*"):
		return until(s, at, at+2, "*/", Comment)
	case c == '$':
		return heredoc(s, at)
	case isDigit(c):
		return Number, run(s, at, func(c byte) bool { return isWord(c) || c == '.' })
	case isWord(c):
		return Word, run(s, at, isWord)
	}
	return Punctuation, at + 1
}

func run(s string, at int, in func(byte) bool) int {
	for at < len(s) && in(s[at]) {
		at++
	}
	return at
}

func quoted(s string, at int, kind Kind) (Kind, int) {
	quote := s[at]
	for i := at + 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] != quote:
		case i+1 < len(s) && s[i+1] == quote:
			i++
		default:
			return kind, i + 1
		}
	}
	return Broken, len(s)
}

func lineEnd(s string, at int) int {
	for at < len(s) && s[at] != '\n' {
		at++
	}
	return at
}

// until ends the token behind the first mark at or after from.
func until(s string, at, from int, mark string, kind Kind) (Kind, int) {
	for i := from; i+len(mark) <= len(s); i++ {
		if s[i:i+len(mark)] == mark {
			return kind, i + len(mark)
		}
	}
	return Broken, len(s)
}

// heredoc reads $tag$ … $tag$. A dollar that begins none is part of a word.
func heredoc(s string, at int) (Kind, int) {
	end := run(s, at+1, func(c byte) bool { return isWord(c) && c != '$' })
	if end >= len(s) || s[end] != '$' {
		return Word, run(s, at, isWord)
	}
	tag := s[at : end+1]
	kind, stop := until(s, at, end+1, tag, Heredoc)
	if kind == Broken {
		return Word, run(s, at, isWord)
	}
	return kind, stop
}

func hasAt(s string, at int, prefix string) bool {
	return len(s)-at >= len(prefix) && s[at:at+len(prefix)] == prefix
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isWord(c byte) bool {
	return c == '_' || c == '$' || isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}

// Significant returns the tokens of a text that are neither space nor comment.
func Significant(sql string) []Token {
	var out []Token
	for at := 0; ; {
		t, ok := Next(sql, at)
		if !ok {
			return out
		}
		at = t.End
		if t.Kind != Space && t.Kind != Comment {
			out = append(out, t)
		}
	}
}
