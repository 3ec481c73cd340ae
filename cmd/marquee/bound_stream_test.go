package main

import (
	"context"
	"fmt"
	"testing"

	"connectrpc.com/connect"

	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/v1/ingestv1connect"
	"marquee/internal/auth"
)

// taking takes streams in and counts the events that came through the guard.
type taking struct {
	ingestv1connect.UnimplementedIngestServiceHandler
	events chan int
}

func (h taking) RecordEventStream(_ context.Context, s *connect.ClientStream[ingestv1.RecordEventStreamRequest]) (*connect.Response[ingestv1.RecordEventStreamResponse], error) {
	n := 0
	for s.Receive() {
		n += len(s.Msg().GetEvents())
	}
	h.events <- n
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("after %d events: %w", n, err)
	}
	return connect.NewResponse(&ingestv1.RecordEventStreamResponse{}), nil
}

// TestAStreamIsBoundToTheTokensProfiles: what a bound token streams of another's profile does not come through, whichever message of the
// stream it is in and wherever in the message; what came before it does.
func TestAStreamIsBoundToTheTokensProfiles(t *testing.T) {
	path, tokens := tokensOf(t, "mine")
	h := taking{events: make(chan int, 1)}
	s := guardedWith(t, path, h)
	t.Setenv(tokenVariable, tokens[auth.Recorder])
	for name, c := range map[string]struct {
		batches [][]string
		taken   int
		code    connect.Code
	}{
		"its own":               {[][]string{{"mine"}, {"mine", "mine"}}, 3, 0},
		"another's at once":     {[][]string{{"another's"}}, 0, connect.CodePermissionDenied},
		"another's later":       {[][]string{{"mine"}, {"mine", "another's"}}, 1, connect.CodePermissionDenied},
		"another's in the last": {[][]string{{"mine"}, {"mine"}, {"another's"}}, 2, connect.CodePermissionDenied},
	} {
		stream := ingestv1connect.NewIngestServiceClient(clientOf(s.Address()), s.Address()).RecordEventStream(t.Context())
		for _, batch := range c.batches {
			m := &ingestv1.RecordEventStreamRequest{}
			for _, p := range batch {
				m.Events = append(m.Events, &ingestv1.WatchEvent{ProfileId: p})
			}
			if stream.Send(m) != nil {
				break // refused already, as the end says
			}
		}
		_, err := stream.CloseAndReceive()
		if c.code == 0 && err != nil || c.code != 0 && connect.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if got := <-h.events; got != c.taken {
			t.Errorf("%s: %d events came through, want %d", name, got, c.taken)
		}
	}
}
