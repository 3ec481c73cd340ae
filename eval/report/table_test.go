package report

import (
	"errors"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	table := Table{Title: "50% of a & b", Header: []string{"model", "ndcg@10"}, Rows: [][]string{{"item_knn", "0.1|2"}, {"als", "0.30"}}, Notes: []string{"one"}}
	for format, want := range map[string]string{
		"text":     "50% of a & b\nmodel     ndcg@10\nitem_knn  0.1|2\nals       0.30\none\n",
		"markdown": "**50% of a & b**\n\n| model | ndcg@10 |\n|---|--:|\n| item_knn | 0.1\\|2 |\n| als | 0.30 |\n\n- one\n",
		"latex": "\\begin{table}\n\\begin{tabular}{lr}\n\\hline\nmodel & ndcg@10 \\\\\n\\hline\nitem\\_knn & 0.1|2 \\\\\nals & 0.30 \\\\\n\\hline\n\\end{tabular}\n" +
			"\\caption{50\\% of a \\& b. one}\n\\end{table}\n",
	} {
		var out strings.Builder
		if err := table.Write(&out, format); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%s:\n%s\nwant:\n%s", format, out.String(), want)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWhatCannotBeWritten(t *testing.T) {
	good := Table{Header: []string{"a"}, Rows: [][]string{{"b"}}}
	if err := good.Write(full{}, "text"); err == nil {
		t.Error("a writer's error was swallowed")
	}
	if err := good.Write(&strings.Builder{}, "html"); err == nil || !strings.Contains(err.Error(), "text, markdown, latex") {
		t.Errorf("%v", err)
	}
	if err := (Table{Header: []string{"a"}, Rows: [][]string{{"b", "c"}}}).Write(&strings.Builder{}, "text"); err == nil {
		t.Error("a ragged table was written")
	}
}
