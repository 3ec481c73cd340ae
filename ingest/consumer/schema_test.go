package consumer

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"marquee/ingest/events"
	ingestv1 "marquee/ingest/v1"
	"marquee/ingest/watchevent"
)

// TestFieldsOfANewerClientReachTheLake sends a field that no release knows through publisher, broker and consumer.
func TestFieldsOfANewerClientReachTheLake(t *testing.T) {
	w := newWorld(t)
	m := w.start(w.module())
	defer w.stop(m)
	future := protowire.AppendString(protowire.AppendTag(nil, 900, protowire.BytesType), "chapter 3")
	e := event(1)
	e.ProtoReflect().SetUnknown(future)
	watchevent.StampLive(e, time.Now().UnixMicro())
	if _, err := w.publisher.Publish(t.Context(), []*ingestv1.WatchEvent{e}); err != nil {
		t.Fatal(err)
	}
	w.caughtUp(m)
	set, err := events.Open(t.Context(), w.lake)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range set.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; string(r.UnknownFields) != string(future) {
			t.Errorf("the lake has unknown fields %x, sent were %x", r.UnknownFields, future)
		}
	}
	if n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}
