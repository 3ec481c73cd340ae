package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"

	"marquee/ingest/imports"
	"marquee/ingest/mapping"
	"marquee/ingest/tabular"
)

// What is done about a file that changed since its import began, or is mapped differently.
const (
	// ChangedRefuse: it is an error that says what changed.
	ChangedRefuse = "refuse"
	// ChangedContinue: the import goes on after the row it had come to; for files that grow at their end.
	ChangedContinue = "continue"
	// ChangedRestart: the import begins again at the first row, also where nothing changed.
	ChangedRestart = "restart"
)

// Options are what reading a file needs. All but Path, Mapping, Namespace and Log are optional.
type Options struct {
	// Path is the file's, or - for standard input, which is read from Stdin.
	Path  string
	Stdin io.Reader
	// Mapping says what rows mean, and how the file is written.
	Mapping mapping.Mapping
	// Namespace prefixes ids, unless IDsAsIs is set, and names the import.
	Namespace string
	IDsAsIs   bool
	// MaxRowBytes bounds a row; 0 is tabular.DefaultMaxRowBytes.
	MaxRowBytes int
	// Changed is what to do about a changed file: ChangedRefuse when empty.
	Changed string
	// MaxErrors is how many rejected rows are too few to stop at; nil means any number is.
	MaxErrors *int64
	// Rejects gets each rejected row, as one line of JSON.
	Rejects io.Writer
	// BatchEvents is how many events are acknowledged at a time; 0 means 5000.
	BatchEvents int
	// Progress is called often, from one goroutine, with the bytes of the file that are read, of how many; of standard
	// input the total is 0.
	Progress func(done, total int64)
	Log      *slog.Logger
}

func (o *Options) check() error {
	if err := imports.CheckNamespace(o.Namespace); err != nil {
		return err
	}
	if o.Changed == "" {
		o.Changed = ChangedRefuse
	}
	if known := []string{ChangedRefuse, ChangedContinue, ChangedRestart}; !slices.Contains(known, o.Changed) {
		return fmt.Errorf("what to do about a changed file is refuse, continue or restart, this is %q", o.Changed)
	}
	if o.MaxErrors != nil && *o.MaxErrors < 0 {
		return errors.New("the most rejected rows to go on with is 0 or more")
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.BatchEvents == 0 {
		o.BatchEvents = 5000
	}
	return nil
}

// prefix is what ids get.
func (o *Options) prefix() string {
	if o.IDsAsIs {
		return ""
	}
	return o.Namespace
}

// importID is what events carry.
func (o *Options) importID() string { return "file:" + o.Namespace }

// name is the import's in the database.
func (o *Options) name(kind string) (string, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return "", fmt.Errorf("find the folder of %s: %w", o.Path, err)
	}
	return kind + " " + o.Namespace + " " + path, nil
}

// digest tells mappings apart.
func (o *Options) digest() (string, error) {
	m := o.Mapping
	m.About, m.Namespace = "", o.prefix()
	text, err := m.YAML()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// open opens the file.
func (o *Options) open() (*tabular.File, error) {
	t := o.Mapping.Format.Options()
	t.MaxRowBytes = o.MaxRowBytes
	return tabular.Open(o.Path, o.Stdin, t)
}
