package files

import (
	"fmt"
	"strings"
	"time"

	"marquee/ingest/imports"
	"marquee/ingest/tabular"
)

// resume decides from which row on a file is imported, 0 being the first.
func resume(o *Options, c *imports.FileCursor, now tabular.Fingerprint, digest string) (int64, error) {
	if c.StartedAt == 0 || o.Changed == ChangedRestart {
		return 0, nil
	}
	was := tabular.Fingerprint{Size: c.Size, ModifiedAt: c.ModifiedAt, Head: c.Head, Tail: c.Tail}
	if o.Changed == ChangedContinue {
		if now.Head != was.Head && was.Size >= now.Size {
			return 0, fmt.Errorf("%s is another file than the one whose import began: it cannot be gone on with, only begun again (--changed restart)", o.Path)
		}
		return c.RowCount, nil
	}
	if now != was {
		return 0, fmt.Errorf("%s is not what it was when its import began (%s), and %d rows of it are imported: --changed restart imports it from its first row "+
			"(a row that is the same is the same event and counts once), --changed continue goes on after row %d (if rows were only added)",
			o.Path, difference(was, now), c.RowCount, c.RowCount)
	}
	if digest != c.Mapping {
		return 0, fmt.Errorf("%s is mapped differently than when its import began, and %d rows of it are imported: the same rows would become other events. "+
			"Give another --namespace, or --changed restart to import them again beside those there are, or --changed continue for the rows after them", o.Path, c.RowCount)
	}
	return c.RowCount, nil
}

func difference(was, now tabular.Fingerprint) string {
	var parts []string
	at := func(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339) }
	if was.Size != now.Size {
		parts = append(parts, fmt.Sprintf("%d bytes then, %d now", was.Size, now.Size))
	}
	if was.ModifiedAt != now.ModifiedAt {
		parts = append(parts, fmt.Sprintf("changed at %s then, at %s now", at(was.ModifiedAt), at(now.ModifiedAt)))
	}
	switch {
	case was.Head != now.Head:
		parts = append(parts, "it begins differently")
	case was.Tail != now.Tail:
		parts = append(parts, "it ends differently")
	}
	return strings.Join(parts, "; ")
}

// note writes down what the file and the mapping are.
func note(c *imports.FileCursor, now tabular.Fingerprint, digest string) {
	c.Size, c.ModifiedAt, c.Head, c.Tail, c.Mapping = now.Size, now.ModifiedAt, now.Head, now.Tail, digest
}
