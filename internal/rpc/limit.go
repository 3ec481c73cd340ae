package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// streamsOf are the paths of a service's procedures whose client sends a stream.
func streamsOf(service string) []string {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil // not a service of this binary's contracts: none of its calls gets a stream's patience
	}
	described, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	var paths []string
	methods := described.Methods()
	for i := range methods.Len() {
		if m := methods.Get(i); m.IsStreamingClient() {
			paths = append(paths, "/"+service+"/"+string(m.Name()))
		}
	}
	return paths
}

// leastAnswerTime is what a client gets at least to take an answer, however short a request may be.
const leastAnswerTime = 30 * time.Second

// errLate is what a call is told whose client did not send the rest of it.
var errLate = fmt.Errorf("the rest of the request did not arrive in time: %w", os.ErrDeadlineExceeded)

// patient bounds how long a client may take over a request: the whole of an ordinary one has to be here within the
// request timeout, and its answer taken within another. A stream may go on for ever, but not say nothing for longer than
// an idle connection may. Without bounds a client that stops in mid-request would hold its call until it goes away, and
// with it the service's end.
func (s *Server) patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		stream := s.streams[r.URL.Path]
		// A connection keeps the deadline of the request before, so each request sets its own.
		answer := time.Time{}
		if !stream {
			answer = time.Now().Add(s.cfg.RequestTimeout + max(s.cfg.RequestTimeout, leastAnswerTime))
		}
		if err := control.SetWriteDeadline(answer); err != nil {
			s.log.DebugContext(r.Context(), "bound the time for an answer", "error", err)
		}
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		body := &timedBody{ReadCloser: r.Body, control: control}
		if stream {
			body.idle, body.calls = s.cfg.IdleTimeout, s.calls
			// A read that waits for the client does not see the context's end.
			stop := context.AfterFunc(s.calls, func() { body.until(time.Unix(1, 0)) })
			defer stop()
		} else {
			body.until(time.Now().Add(s.cfg.RequestTimeout))
		}
		// The server looks at its own request's body to decide whether the connection can be used again.
		timed := *r
		timed.Body = body
		next.ServeHTTP(w, &timed)
	})
}

// timedBody is a request's body that has to arrive in time.
type timedBody struct {
	io.ReadCloser

	control *http.ResponseController
	// idle, where it is not 0, is how long one read may take, and calls the context that ends all reading.
	idle  time.Duration
	calls context.Context
}

func (b *timedBody) Read(p []byte) (int, error) {
	if b.idle > 0 {
		b.until(time.Now().Add(b.idle))
		// In this order: the deadline may just have taken the place of the one that ends reading.
		if b.calls.Err() != nil {
			return 0, errLate
		}
	}
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		// Behind the body the server listens for the client's going away, which is not a matter of time.
		b.until(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errLate
	}
	return n, err
}

// until sets the deadline. Where it cannot be set the connection is at its end, and reading from it says so.
func (b *timedBody) until(t time.Time) { _ = b.control.SetReadDeadline(t) }
