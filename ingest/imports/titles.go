package imports

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	catalogv1 "marquee/catalog/v1"
)

// MaxTitles is how many titles can be put at a time, the contract's limit.
const MaxTitles = 500

// TitleWriter takes titles in; the catalogue's RPC client and its handler both are one.
type TitleWriter interface {
	PutTitles(ctx context.Context, req *connect.Request[catalogv1.PutTitlesRequest]) (*connect.Response[catalogv1.PutTitlesResponse], error)
}

// PutTitles puts up to MaxTitles titles into the catalogue and returns its answer to each, in order.
func PutTitles(ctx context.Context, w TitleWriter, titles []*catalogv1.Title) ([]*catalogv1.TitleResult, error) {
	resp, err := w.PutTitles(ctx, connect.NewRequest(&catalogv1.PutTitlesRequest{Titles: titles}))
	if err != nil {
		return nil, fmt.Errorf("put titles into the catalogue: %w", err)
	}
	if n := len(resp.Msg.Results); n != len(titles) {
		return nil, fmt.Errorf("put titles into the catalogue: %d titles got %d results", len(titles), n)
	}
	return resp.Msg.Results, nil
}

// Refusal puts what the catalogue has against a title into one line.
func Refusal(r *catalogv1.TitleResult) string {
	parts := make([]string, len(r.Violations))
	for i, v := range r.Violations {
		parts[i] = strings.TrimSpace(v.Field + " " + v.Message)
	}
	return strings.Join(parts, "; ")
}
