// Package report renders tables of results as plain text, Markdown and LaTeX.
package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table is rows under a header. The first column is text and the others are numbers or short words.
type Table struct {
	Title  string
	Header []string
	Rows   [][]string
	// Notes stand below the table, a line each.
	Notes []string
}

// Formats are the names Write knows.
func Formats() []string { return []string{"text", "markdown", "latex"} }

// Write renders the table in the named format.
func (t Table) Write(w io.Writer, format string) error {
	render := map[string]func(io.Writer){"text": t.text, "markdown": t.markdown, "latex": t.latex}[format]
	if render == nil {
		return fmt.Errorf("there is no table format %q; there are %s", format, strings.Join(Formats(), ", "))
	}
	for i, row := range t.Rows {
		if len(row) != len(t.Header) {
			return fmt.Errorf("row %d of the table has %d columns, the header %d", i, len(row), len(t.Header))
		}
	}
	b := bufio.NewWriter(w)
	render(b)
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

func (t Table) text(w io.Writer) {
	if t.Title != "" {
		fmt.Fprintln(w, t.Title)
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(t.Header, "\t"))
	for _, row := range t.Rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush() // It writes to a bufio.Writer, which keeps the error for its own Flush.
	for _, n := range t.Notes {
		fmt.Fprintln(w, n)
	}
}

func (t Table) markdown(w io.Writer) {
	cells := func(row []string) string {
		out := make([]string, len(row))
		for i, c := range row {
			out[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(c)
		}
		return "| " + strings.Join(out, " | ") + " |"
	}
	if t.Title != "" {
		fmt.Fprintf(w, "**%s**\n\n", t.Title)
	}
	fmt.Fprintln(w, cells(t.Header))
	fmt.Fprintln(w, "|---"+strings.Repeat("|--:", len(t.Header)-1)+"|")
	for _, row := range t.Rows {
		fmt.Fprintln(w, cells(row))
	}
	if len(t.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, n := range t.Notes {
		fmt.Fprintln(w, "- "+n)
	}
}

func (t Table) latex(w io.Writer) {
	escape := strings.NewReplacer(`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`, "{", `\{`, "}", `\}`,
		"~", `\textasciitilde{}`, "^", `\textasciicircum{}`, "\n", " ").Replace
	cells := func(row []string) string {
		out := make([]string, len(row))
		for i, c := range row {
			out[i] = escape(c)
		}
		return strings.Join(out, " & ") + ` \\`
	}
	fmt.Fprintln(w, `\begin{table}`)
	fmt.Fprintf(w, "\\begin{tabular}{l%s}\n\\hline\n%s\n\\hline\n", strings.Repeat("r", len(t.Header)-1), cells(t.Header))
	for _, row := range t.Rows {
		fmt.Fprintln(w, cells(row))
	}
	fmt.Fprintln(w, `\hline`)
	fmt.Fprintln(w, `\end{tabular}`)
	if caption := strings.Join(append([]string{t.Title}, t.Notes...), ". "); strings.Trim(caption, ". ") != "" {
		fmt.Fprintf(w, "\\caption{%s}\n", escape(caption))
	}
	fmt.Fprintln(w, `\end{table}`)
}
