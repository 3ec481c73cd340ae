package warehouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"marquee/features/warehouse/sqltoken"
)

// keptTokens is how long, in seconds, a replicated table knows the names of inserts: a week, as the ledger knows ranges.
const keptTokens = "604800"

// renderer turns the statements of migrations, which are written for one server, into those for a cluster. There is one
// text of the schema, so that the two forms cannot drift apart.
type renderer struct {
	cluster  ClusterConfig
	database string
	// keys are the columns that tables and views are spread by, as far as statements that were rendered say.
	keys map[string]string
}

func newRenderer(c ClusterConfig, database string) *renderer {
	return &renderer{cluster: c, database: database, keys: map[string]string{}}
}

// render returns the statements that take a statement's place.
func (r *renderer) render(sql string) ([]string, error) {
	s := newScript(sql)
	var out []string
	var err error
	switch {
	case s.at(0, "CREATE"):
		out, err = r.create(s)
	case s.at(0, "ALTER", "TABLE"):
		out, err = r.alter(s)
	default:
		err = errors.New("only CREATE TABLE, CREATE VIEW and ALTER TABLE have one")
	}
	if err != nil {
		return nil, fmt.Errorf("the cluster form of %q: %w", firstLine(sql), err)
	}
	return out, nil
}

func firstLine(sql string) string {
	s := newScript(sql)
	if len(s.tokens) == 0 {
		return ""
	}
	line, _, _ := strings.Cut(sql[s.tokens[0].Start:], "\n")
	return line
}

// create renders CREATE [OR REPLACE] TABLE|VIEW [IF NOT EXISTS] name …
func (r *renderer) create(s *script) ([]string, error) {
	i := 1
	verb := "CREATE "
	if s.at(i, "OR", "REPLACE") {
		i, verb = i+2, "CREATE OR REPLACE "
	}
	kind := s.word(i)
	i++
	condition := ""
	if s.at(i, "IF", "NOT", "EXISTS") {
		i, condition = i+3, "IF NOT EXISTS "
	}
	name := s.text(i)
	if name == "" || s.tokens[i].Kind != sqltoken.Word || s.at(i+1, ".") {
		return nil, errors.New("its name must be one plain word")
	}
	s.replace(i, i+1, local(name)+r.onCluster())
	var err error
	switch kind {
	case "TABLE":
		err = r.table(s, name)
	case "VIEW":
		err = r.view(s, name, i+1)
	default:
		err = fmt.Errorf("%s has none", kind)
	}
	if err != nil {
		return nil, err
	}
	return []string{s.result(), verb + "TABLE " + condition + r.distributed(name, r.keys[name])}, nil
}

// distributed is what makes the table that spreads over the shards' own, behind CREATE TABLE.
func (r *renderer) distributed(name, key string) string {
	return fmt.Sprintf("%s%s AS %s\nENGINE = Distributed(%s, %s, %s, cityHash64(%s))",
		name, r.onCluster(), local(name), quoteText(r.cluster.Name), quoteText(r.database), quoteText(local(name)), key)
}

func (r *renderer) onCluster() string {
	if !r.cluster.OnCluster {
		return ""
	}
	return " ON CLUSTER " + quoteName(r.cluster.Name)
}

// table renders what follows a table's name, and notes what it is spread by.
func (r *renderer) table(s *script, name string) error {
	e := s.find("ENGINE")
	if e < 0 || !s.at(e+1, "=") || !strings.HasSuffix(s.word(e+2), "MERGETREE") {
		return errors.New("it must have an engine of the MergeTree family")
	}
	o := s.find("ORDER")
	if o < 0 || !s.at(o+1, "BY") {
		return errors.New("it must have an ORDER BY, whose first column says which shard a row goes to")
	}
	if o += 2; s.at(o, "(") {
		o++
	}
	if s.kind(o) != sqltoken.Word || s.at(o+1, "(") {
		return errors.New("its ORDER BY must begin with a column, which says which shard a row goes to")
	}
	r.keys[name] = s.text(o)
	if !r.cluster.Replicated {
		return nil
	}
	r.replicated(s, e+2)
	for i := max(e, o); i+2 < len(s.tokens); i++ {
		if s.at(i, "NON_REPLICATED_DEDUPLICATION_WINDOW", "=") {
			s.replace(i, i+3, "replicated_deduplication_window = "+s.text(i+2)+", replicated_deduplication_window_seconds = "+keptTokens)
		}
	}
	return nil
}

// replicated makes the engine at token i a replicated one. One that is so already gets path and replica anew: in a table
// that stands, the path is that table's own.
func (r *renderer) replicated(s *script, i int) {
	name := "Replicated" + strings.TrimPrefix(s.text(i), "Replicated")
	var arguments []string
	if r.cluster.Path != "" {
		arguments = []string{quoteText(r.cluster.Path), quoteText(r.cluster.Replica)}
	}
	end := i + 1
	if s.at(end, "(") {
		end++
		if s.kind(end) == sqltoken.String && s.at(end+1, ",") && s.kind(end+2) == sqltoken.String {
			if end += 3; s.at(end, ",") {
				end++
			}
		}
		from := end
		for depth := 1; depth > 0 && end < len(s.tokens); end++ {
			switch s.text(end) {
			case "(":
				depth++
			case ")":
				depth--
			}
		}
		if rest := strings.TrimSpace(s.between(from, end-1)); rest != "" {
			arguments = append(arguments, rest)
		}
	}
	if len(arguments) > 0 {
		name += "(" + strings.Join(arguments, ", ") + ")"
	}
	s.replace(i, end, name)
}

// copied makes an empty table of the shape of a shard's, whose definition the engine gives, and the one over it.
func (r *renderer) copied(definition, name string) ([]string, error) {
	s := newScript(definition)
	e := s.find("ENGINE")
	if !s.at(0, "CREATE", "TABLE") || !s.at(3, ".") || e < 5 {
		return nil, fmt.Errorf("%q is no table's definition", firstLine(definition))
	}
	s.replace(2, 5, local(name)+r.onCluster())
	if err := r.table(s, name); err != nil {
		return nil, err
	}
	return []string{s.result(), "CREATE TABLE IF NOT EXISTS " + r.distributed(name, r.keys[name])}, nil
}

// view renders what follows a view's name: each shard's view reads that shard's part of the one table it is about. What
// would need rows of another shard is refused.
func (r *renderer) view(s *script, name string, from int) error {
	table := ""
	for i := from; i < len(s.tokens); i++ {
		switch s.word(i) {
		case "JOIN", "WITH", "UNION", "INTERSECT", "EXCEPT":
			if s.at(i-1, "ARRAY", "JOIN") {
				continue // of a row with its own lists
			}
			return fmt.Errorf("a shard's view may not have %s, as it sees one shard's rows", s.word(i))
		case "IN":
			if s.at(i+1, "(", "SELECT") {
				return errors.New("a shard's view may not have IN (SELECT …), as it sees one shard's rows")
			}
		case "FROM":
			if s.at(i+1, "(") {
				continue
			}
			if table != "" || s.kind(i+1) != sqltoken.Word || s.at(i+2, "(") || s.at(i+2, ".") {
				return errors.New("it must read exactly one table")
			}
			table = s.text(i + 1)
			s.replace(i+1, i+2, local(table))
		}
	}
	if table == "" {
		return errors.New("it must read exactly one table")
	}
	key, known := r.keys[table]
	if !known {
		return fmt.Errorf("it reads %s, which no migration before it made", table)
	}
	r.keys[name] = key
	return nil
}

// alter renders ALTER TABLE name …: for the shards' tables, and where it is about columns also for the one over them.
func (r *renderer) alter(s *script) ([]string, error) {
	name := s.text(2)
	if _, known := r.keys[name]; !known {
		return nil, fmt.Errorf("no migration before it made a table %s", name)
	}
	out := []string{s.with(2, 3, local(name)+r.onCluster())}
	verb, what := s.word(3), s.word(4)
	columns := []string{"ADD", "DROP", "RENAME", "MODIFY", "COMMENT"}
	switch {
	case what == "COLUMN" && slices.Contains(columns, verb):
		out = append(out, s.with(2, 3, name+r.onCluster()))
	case slices.Contains([]string{"MODIFY SETTING", "ADD INDEX", "DROP INDEX", "ADD PROJECTION", "DROP PROJECTION", "MODIFY TTL"}, verb+" "+what):
	default:
		return nil, fmt.Errorf("%s %s has none", verb, what)
	}
	if r.cluster.Replicated {
		if s.at(3, "MODIFY", "SETTING", "NON_REPLICATED_DEDUPLICATION_WINDOW") {
			return nil, errors.New("change replicated_deduplication_window by hand")
		}
	}
	return out, nil
}

// script is a statement in tokens, and what is to be put in their place.
type script struct {
	sql    string
	tokens []sqltoken.Token
	out    strings.Builder
	done   int // of sql, in bytes
}

func newScript(sql string) *script {
	return &script{sql: sql, tokens: sqltoken.Significant(sql)}
}

// text is a token as it stands, nothing behind the last.
func (s *script) text(i int) string {
	if i < 0 || i >= len(s.tokens) {
		return ""
	}
	return s.sql[s.tokens[i].Start:s.tokens[i].End]
}

func (s *script) kind(i int) sqltoken.Kind {
	if i < 0 || i >= len(s.tokens) {
		return sqltoken.Space
	}
	return s.tokens[i].Kind
}

// word is a word in capitals; nothing where the token is none.
func (s *script) word(i int) string {
	if s.kind(i) != sqltoken.Word {
		return ""
	}
	return strings.ToUpper(s.text(i))
}

// at says that these tokens follow from i on; words in capitals.
func (s *script) at(i int, want ...string) bool {
	for j, w := range want {
		if got := s.text(i + j); got != w && s.word(i+j) != w || s.kind(i+j) == sqltoken.String {
			return false
		}
	}
	return true
}

// find is where a word stands outside of brackets; -1 when nowhere.
func (s *script) find(word string) int {
	depth := 0
	for i := range s.tokens {
		switch text := s.text(i); {
		case text == "(":
			depth++
		case text == ")":
			depth--
		case depth == 0 && s.word(i) == word:
			return i
		}
	}
	return -1
}

// between is the text of the tokens from i to before j.
func (s *script) between(i, j int) string {
	if i >= j {
		return ""
	}
	return s.sql[s.tokens[i].Start:s.tokens[j-1].End]
}

// replace puts a text in the place of the tokens from i to before j. Replacements come in order.
func (s *script) replace(i, j int, text string) {
	s.out.WriteString(s.sql[s.done:s.tokens[i].Start])
	s.out.WriteString(text)
	s.done = s.tokens[j-1].End
}

// result is the statement with everything replaced.
func (s *script) result() string { return s.out.String() + s.sql[s.done:] }

// with is the statement with one replacement.
func (s *script) with(i, j int, text string) string {
	return s.sql[:s.tokens[i].Start] + text + s.sql[s.tokens[j-1].End:]
}
