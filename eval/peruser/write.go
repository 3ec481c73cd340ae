// Package peruser writes results user by user to Parquet, for whoever wants to look closer than at means.
package peruser

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"marquee/eval/metric/judge"
)

// Run is one model's result.
type Run struct {
	Model  string
	Seed   uint64
	Result *judge.Result
}

// Write writes a row a run and judged user: model, seed, fingerprint, user (its row in the split), profile_id where profileID
// is not nil, list (the recommended titles' rows, best first), and a column a metric, such as ndcg@10. The protocol stands in
// the file's metadata under "fingerprint", as JSON. All results must be of one protocol; they are refused otherwise, with
// an error that wraps judge.ErrFingerprint.
func Write(w io.Writer, runs []Run, profileID func(user uint32) string) error {
	if len(runs) == 0 {
		return fmt.Errorf("write results by user: there are none")
	}
	first := runs[0].Result
	for _, r := range runs[1:] {
		if err := first.Fingerprint.Match(r.Result.Fingerprint); err != nil {
			return fmt.Errorf("write results by user: %s and %s: %w", runs[0].Model, r.Model, err)
		}
	}
	protocol, err := json.Marshal(first.Fingerprint)
	if err != nil {
		return fmt.Errorf("write results by user: %w", err)
	}
	c := newColumns(first, profileID)
	out := parquet.NewWriter(w, c.schema, parquet.Compression(&parquet.Zstd), parquet.KeyValueMetadata("fingerprint", string(protocol)))
	for _, r := range runs {
		for i := range r.Result.Users {
			if _, err := out.WriteRows([]parquet.Row{c.row(r, i)}); err != nil {
				return fmt.Errorf("write results by user: %w", err)
			}
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write results by user: %w", err)
	}
	return nil
}

// columns turns results to rows of one schema.
type columns struct {
	schema    *parquet.Schema
	names     []string // of leaf columns, in the schema's order
	profileID func(uint32) string
	buffer    parquet.Row
}

func newColumns(r *judge.Result, profileID func(uint32) string) *columns {
	word := parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	g := parquet.Group{
		"model": word, "seed": parquet.Uint(64), "fingerprint": word, "user": parquet.Uint(32), "list": parquet.List(parquet.Uint(32)),
	}
	if profileID != nil {
		g["profile_id"] = parquet.String()
	}
	for name := range r.PerUser {
		g[name] = parquet.Leaf(parquet.DoubleType)
	}
	c := &columns{schema: parquet.NewSchema("result", g), profileID: profileID}
	for _, path := range c.schema.Columns() {
		c.names = append(c.names, path[0])
	}
	return c
}

// row is the i-th judged user's; it is valid until the next one.
func (c *columns) row(r Run, i int) parquet.Row {
	c.buffer = c.buffer[:0]
	user := r.Result.Users[i]
	for n, name := range c.names {
		add := func(v parquet.Value) { c.buffer = append(c.buffer, v.Level(0, 0, n)) }
		switch name {
		case "model":
			add(parquet.ValueOf(r.Model))
		case "seed":
			add(parquet.ValueOf(r.Seed))
		case "fingerprint":
			add(parquet.ValueOf(r.Result.Fingerprint.String()))
		case "user":
			add(parquet.ValueOf(user))
		case "profile_id":
			add(parquet.ValueOf(c.profileID(user)))
		case "list":
			c.list(n, r.Result.List(i))
		default:
			add(parquet.ValueOf(r.Result.PerUser[name][i]))
		}
	}
	return c.buffer
}

// list appends a list's titles; one without titles is a single value that is not there.
func (c *columns) list(column int, titles []uint32) {
	if len(titles) == 0 {
		c.buffer = append(c.buffer, parquet.NullValue().Level(0, 0, column))
	}
	for n, t := range titles {
		c.buffer = append(c.buffer, parquet.ValueOf(t).Level(min(n, 1), 1, column))
	}
}
