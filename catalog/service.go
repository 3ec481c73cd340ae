package catalog

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"marquee/catalog/store"
	catalogv1 "marquee/catalog/v1"
	"marquee/catalog/v1/catalogv1connect"
	"marquee/internal/db"
)

const (
	maxBatch        = 500
	defaultPageSize = 100
	// maxPageBytes cuts a page of large titles short, so that an answer stays within what clients accept.
	maxPageBytes = 3 << 20
)

// Service is the CatalogService. It validates by itself, title by title, so its methods do the same when called in the
// process as over the wire; serve it without a validating interceptor.
type Service struct {
	store     func() *store.Store
	validator validator
	// changed is called after every committed change.
	changed func()
	log     *slog.Logger
}

var _ catalogv1connect.CatalogServiceHandler = (*Service)(nil)

func newService(cfg Config, open func() *store.Store, changed func(), log *slog.Logger) (*Service, error) {
	rules, err := protovalidate.New(protovalidate.WithMessages((*catalogv1.Title)(nil)))
	if err != nil {
		return nil, fmt.Errorf("compile the catalogue's rules: %w", err)
	}
	return &Service{store: open, validator: validator{rules: rules, maxBytes: cfg.MaxTitleBytes}, changed: changed, log: log}, nil
}

// PutTitles stores the titles that follow the rules and answers each by its index; all that are stored are one
// transaction. It fails as a whole only for a batch of no or too many titles, or when the database does.
func (s *Service) PutTitles(ctx context.Context, req *connect.Request[catalogv1.PutTitlesRequest]) (*connect.Response[catalogv1.PutTitlesResponse], error) {
	st, err := s.ready()
	if err != nil {
		return nil, err
	}
	titles := req.Msg.GetTitles()
	if len(titles) < 1 || len(titles) > maxBatch {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("titles: a request has 1 to %d titles, this one %d", maxBatch, len(titles)))
	}
	results := make([]*catalogv1.TitleResult, len(titles))
	var good []*catalogv1.Title
	var index []int
	for i, violations := range s.validator.batch(titles) {
		results[i] = &catalogv1.TitleResult{Index: uint32(i), TitleId: validText(titles[i].GetTitleId()), Violations: violations}
		if len(violations) == 0 {
			good, index = append(good, titles[i]), append(index, i)
		}
	}
	if len(good) > 0 {
		outcomes, err := st.Put(ctx, good)
		if err != nil {
			return nil, s.failure(ctx, err)
		}
		changed := false
		for k, o := range outcomes {
			note(results[index[k]], o)
			changed = changed || o.Changed
		}
		if changed {
			s.changed()
		}
	}
	return connect.NewResponse(&catalogv1.PutTitlesResponse{Results: results}), nil
}

// note writes what the store did into a title's result.
func note(r *catalogv1.TitleResult, o store.Outcome) {
	r.Accepted, r.Revision, r.Changed = len(o.Conflicts) == 0, o.Revision, o.Changed
	for i, c := range o.Conflicts {
		if i == maxViolations {
			r.Violations = append(r.Violations, violation("", "and %d more", len(o.Conflicts)-i))
			break
		}
		r.Violations = append(r.Violations, violation(c.Field, "%q belongs to title %q", c.PlayableID, c.Owner))
	}
}

// GetTitle returns a title; one that was withdrawn has deleted set. NOT_FOUND is for one that never was.
func (s *Service) GetTitle(ctx context.Context, req *connect.Request[catalogv1.GetTitleRequest]) (*connect.Response[catalogv1.GetTitleResponse], error) {
	st, err := s.check(req.Msg)
	if err != nil {
		return nil, err
	}
	t, err := st.Get(ctx, req.Msg.GetTitleId())
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	return connect.NewResponse(&catalogv1.GetTitleResponse{Title: t}), nil
}

// ListTitles pages through what is not withdrawn. A page may hold fewer titles than asked for when they are large.
func (s *Service) ListTitles(ctx context.Context, req *connect.Request[catalogv1.ListTitlesRequest]) (*connect.Response[catalogv1.ListTitlesResponse], error) {
	st, err := s.check(req.Msg)
	if err != nil {
		return nil, err
	}
	after, err := readPageToken(req.Msg.GetPageToken())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	size := int(req.Msg.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	titles, more, err := st.List(ctx, after, size, maxPageBytes)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	out := &catalogv1.ListTitlesResponse{Titles: titles}
	if more {
		out.NextPageToken = pageToken(titles[len(titles)-1].GetTitleId())
	}
	return connect.NewResponse(out), nil
}

// DeleteTitle withdraws a title. Doing it again changes nothing and returns the same revision.
func (s *Service) DeleteTitle(ctx context.Context, req *connect.Request[catalogv1.DeleteTitleRequest]) (*connect.Response[catalogv1.DeleteTitleResponse], error) {
	st, err := s.check(req.Msg)
	if err != nil {
		return nil, err
	}
	revision, err := st.Delete(ctx, req.Msg.GetTitleId())
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	s.changed()
	return connect.NewResponse(&catalogv1.DeleteTitleResponse{Revision: revision}), nil
}

// TitleOf returns the id of the title that a playable belongs to; store.ErrNotFound when it belongs to none.
func (s *Service) TitleOf(ctx context.Context, playableID string) (string, error) {
	st, err := s.ready()
	if err != nil {
		return "", err
	}
	return st.TitleOf(ctx, playableID)
}

// ready returns the store, or UNAVAILABLE before the module was started.
func (s *Service) ready() (*store.Store, error) {
	if st := s.store(); st != nil {
		return st, nil
	}
	return nil, connect.NewError(connect.CodeUnavailable, errors.New("the catalogue is not open yet; try again"))
}

// check is ready for a request that must follow the contract's rules as a whole.
func (s *Service) check(req proto.Message) (*store.Store, error) {
	violations := textViolations(req)
	if len(violations) == 0 {
		violations = s.validator.ruleViolations(req)
	}
	var errs []error
	for _, v := range violations {
		errs = append(errs, fmt.Errorf("%s: %s", v.GetField(), v.GetMessage()))
	}
	if len(errs) > 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.Join(errs...))
	}
	return s.ready()
}

// retryAfter is the advice given while the database is away.
const retryAfter = time.Second

// failure gives an error of the store its code. What the database says of itself is for the log: it names addresses and
// accounts.
func (s *Service) failure(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("the database did not answer in time: %w", ctx.Err()))
	case ctx.Err() != nil:
		return connect.NewError(connect.CodeCanceled, ctx.Err())
	case db.Away(err):
		s.log.WarnContext(ctx, "the catalogue's database cannot be used", "error", err)
		out := connect.NewError(connect.CodeUnavailable, errors.New("the catalogue's database cannot be used just now; sending the same again is right"))
		out.Meta().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		return out
	default:
		return connect.NewError(connect.CodeInternal, err)
	}
}

// tokenVersion leads a page token, so that its content can change without an old one being misread.
const tokenVersion = "1"

// pageToken says that the page after the title is next.
func pageToken(titleID string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenVersion + titleID))
}

func readPageToken(token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < 2 || len(raw) > 65 || string(raw[:1]) != tokenVersion || validText(string(raw)) != string(raw) {
		return "", errors.New("page_token: is not one that ListTitles gave; start again without it")
	}
	return string(raw[1:]), nil
}
