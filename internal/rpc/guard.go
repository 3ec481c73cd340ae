package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"marquee/internal/auth"
)

// Identifier says who presents an Authorization header. Its errors wrap auth.ErrUnknown or auth.ErrUnavailable.
type Identifier interface {
	Identify(ctx context.Context, authorization string) (auth.Identity, error)
}

// Public is the permission of what everybody may call.
const Public auth.Role = ""

// Permissions say which role a path needs: a procedure, such as /marquee.serving.v1.RecommendationService/Recommend, or
// another path of the port. A path without one is not there, whatever is mounted on it.
type Permissions map[string]auth.Role

// own are the permissions of what the port brings itself.
func own() Permissions {
	return Permissions{
		"/livez": Public, "/readyz": Public, "/metrics": auth.Operator,
		"/grpc.health.v1.Health/Check": Public, "/grpc.health.v1.Health/Watch": Public,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      auth.Operator,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": auth.Operator,
	}
}

// Protect has every call checked against the permissions. identify is nil where everybody is let in: even then, what has no
// permission is refused. It is called before Start.
func (s *Server) Protect(identify Identifier, p Permissions) {
	s.identify, s.permissions = identify, own()
	for path, role := range p {
		s.permissions[path] = role
	}
}

type identityKey struct{}

// guard is the one place where callers are let in: it stands in front of everything on the port, and refuses before a byte of
// the request's body is read.
func (s *Server) guard(next http.Handler) http.Handler {
	if s.permissions == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role, declared := s.permissions[r.URL.Path]
		if declared && role == Public {
			next.ServeHTTP(w, r)
			return
		}
		id, err := auth.Everybody(), error(nil)
		if s.identify != nil {
			id, err = s.identify.Identify(r.Context(), r.Header.Get("Authorization"))
		}
		switch {
		case errors.Is(err, auth.ErrUnavailable):
			s.deny(w, r, connect.CodeUnavailable, err)
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="marquee"`)
			s.deny(w, r, connect.CodeUnauthenticated, err)
		case !declared:
			// As a mux answers: clients of every protocol make "unimplemented" of it.
			s.denied.WithLabelValues(connect.CodeUnimplemented.String()).Inc()
			reply(w, http.StatusNotFound, fmt.Sprintf("there is no %.200q", r.URL.Path))
		case !id.Has(role):
			s.deny(w, r, connect.CodePermissionDenied, fmt.Errorf("%s needs the role %s", r.URL.Path, role))
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
		}
	})
}

// deny refuses a caller. Callers of procedures understand Connect's and gRPC's errors; others get plain text.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, code connect.Code, err error) {
	s.denied.WithLabelValues(code.String()).Inc()
	writer := connect.NewErrorWriter()
	if r.Method == http.MethodPost && writer.IsSupported(r) {
		if werr := writer.Write(w, r, connect.NewError(code, err)); werr != nil {
			s.log.DebugContext(r.Context(), "deny a call", "error", werr)
		}
		return
	}
	status := map[connect.Code]int{
		connect.CodeUnavailable: http.StatusServiceUnavailable, connect.CodeUnauthenticated: http.StatusUnauthorized,
	}[code]
	if status == 0 {
		status = http.StatusForbidden
	}
	reply(w, status, err.Error())
}

// bound refuses messages that name a profile which is not the caller's.
type bound struct{}

func (bound) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := covers(ctx, req.Any()); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (bound) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (bound) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, boundConn{conn, ctx})
	}
}

type boundConn struct {
	connect.StreamingHandlerConn

	ctx context.Context
}

func (c boundConn) Receive(into any) error {
	if err := c.StreamingHandlerConn.Receive(into); err != nil {
		return err
	}
	return covers(c.ctx, into)
}

func covers(ctx context.Context, msg any) error {
	id, ok := ctx.Value(identityKey{}).(auth.Identity)
	if !ok || !id.Bound {
		return nil
	}
	m, ok := msg.(proto.Message)
	if !ok {
		return connect.NewError(connect.CodePermissionDenied, errors.New("the token is bound to profiles, and this call does not say whose it is"))
	}
	return coversMessage(id, m.ProtoReflect())
}

// coversMessage looks at every field called profile_id, however deep, so that what is added to a contract is held as well.
func coversMessage(id auth.Identity, m protoreflect.Message) (err error) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					err = coversMessage(id, v.Message())
					return err == nil
				})
			}
		case f.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = coversValue(id, f, v.List().Get(i))
			}
		default:
			err = coversValue(id, f, v)
		}
		return err == nil
	})
	return err
}

func coversValue(id auth.Identity, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case f.Message() != nil:
		return coversMessage(id, v.Message())
	case f.Kind() == protoreflect.StringKind && (f.Name() == "profile_id" || f.Name() == "profile_ids") && !id.Covers(v.String()):
		return connect.NewError(connect.CodePermissionDenied, errors.New("the token is not for this profile"))
	}
	return nil
}
