package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	ingestv1 "marquee/ingest/v1"
	servingv1 "marquee/serving/v1"
)

// someModules runs subsets of the modules: each answers what its modules answer and nothing else.
func someModules(t *testing.T, f *trained) {
	in := f.install(t)
	in.run("serve", "--modules", "ingest,recommendations").fails(exitUsage, `modules must be all or some of catalog, ingest, features, recommend, is "recommendations"`)
	methods := []struct{ module, path, body string }{
		{"catalog", catalogService + "GetTitle", `{"titleId":"mllatest:1"}`},
		{"ingest", ingestService + "RecordEvents", batch(event("p", "t", "EVENT_TYPE_CLICK"))},
		{"recommend", servingService + "Recommend", `{"viewer":{"profileId":"mllatest:1"}}`},
	}
	for _, modules := range []string{"ingest", "recommend,catalog"} {
		s := in.serve("--modules", modules)
		for _, m := range methods {
			want := http.StatusNotFound
			if slices.Contains(strings.Split(modules, ","), m.module) {
				want = http.StatusOK
			}
			code, err := ask(s.url+m.path, m.body, nil)
			if code != want {
				t.Errorf("--modules %s: %s answers %d (%v), want %d", modules, m.path, code, err, want)
			}
		}
		s.terminate()
	}
}

// servesAsOf serves imported history at its own time: what was watched in its last days trends, which at the wall clock is long
// past. There is no release here, since a release's own trending titles stand in for a quiet log.
func servesAsOf(t *testing.T, f *trained) {
	in := f.install(t)
	if err := os.RemoveAll(filepath.Join(in.dir, "models")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		trends bool
	}{
		{[]string{"--as-of", "max-event"}, true},
		{nil, false},
	} {
		s := in.serve(c.args...)
		var page home
		s.call(http.StatusOK, servingService+"HomePage", `{"viewer":{"profileId":"mllatest:nobody"}}`, &page)
		if _, trends := page.row("trending"); trends != c.trends || len(page.Rows) == 0 {
			t.Errorf("serve %v: %+v, want a row of what trends: %v", c.args, page, c.trends)
		}
		s.terminate()
	}
	in.run("serve", "--as-of", "yesterday").fails(exitUsage, "--as-of", "yesterday", "max-event")
}

// overGRPC asks the one port with a client of gRPC's own: the same services, health and reflection. The service ends well
// although the client keeps a stream open, as tools that use reflection do.
func overGRPC(t *testing.T, f *trained) {
	s := f.install(t, "MARQUEE_DRAIN=2s").serve()
	conn, err := grpc.NewClient(strings.TrimPrefix(s.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	var r servingv1.RecommendResponse
	if err := conn.Invoke(ctx, servingService+"Recommend", &servingv1.RecommendRequest{Viewer: &servingv1.Viewer{ProfileId: "mllatest:1"}, Count: 5}, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.GetTitles()) != 5 || r.GetBundleId() != f.release {
		t.Errorf("Recommend: %v", &r)
	}
	err = conn.Invoke(ctx, servingService+"Recommend", &servingv1.RecommendRequest{}, &r)
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "viewer") {
		t.Errorf("a request without a viewer: %v", err)
	}
	err = conn.Invoke(ctx, servingService+"Recommend", &servingv1.RecommendRequest{Viewer: &servingv1.Viewer{ProfileId: "p"}, Count: 5, MinPosition: []*servingv1.Position{{Partition: 4000}}}, &r)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a position in a partition that is not there: %v", err)
	}
	streamEvents(ctx, t, conn)
	// A client that means to send events all day is told of the end and does not hold it up. It has arrived
	// once what follows on the same connection was answered.
	stream := openStream(ctx, t, conn)
	if err := stream.SendMsg(&ingestv1.RecordEventStreamRequest{Events: []*ingestv1.WatchEvent{click(newBatch(1).ids[0])}}); err != nil {
		t.Fatal(err)
	}
	health(ctx, t, conn)
	reflection(ctx, t, conn)
	s.terminate()
	if err := stream.RecvMsg(&ingestv1.RecordEventStreamResponse{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream at the service's end: %v", err)
	}
}

func openStream(ctx context.Context, t *testing.T, conn *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, ingestService+"RecordEventStream")
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func click(id uuid.UUID) *ingestv1.WatchEvent {
	return &ingestv1.WatchEvent{
		EventId: id.String(), SchemaVersion: 1, ProfileId: "p", TitleId: "mllatest:1", Type: ingestv1.EventType_EVENT_TYPE_CLICK,
		OccurredAt: time.Now().UnixMicro(),
	}
}

// streamEvents records two batches over one client stream.
func streamEvents(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	stream := openStream(ctx, t, conn)
	good := newBatch(1)
	for i := range 2 {
		broken := &ingestv1.WatchEvent{EventId: "broken"}
		if err := stream.SendMsg(&ingestv1.RecordEventStreamRequest{Events: []*ingestv1.WatchEvent{click(good.ids[i]), broken}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var sum ingestv1.RecordEventStreamResponse
	if err := stream.RecvMsg(&sum); err != nil {
		t.Fatal(err)
	}
	var indexes []uint32
	for _, r := range sum.GetRejections() {
		indexes = append(indexes, r.GetIndex())
	}
	slices.Sort(indexes)
	if sum.GetAccepted() != 2 || sum.GetRejected() != 2 || !slices.Equal(indexes, []uint32{1, 3}) {
		t.Errorf("the stream: %v", &sum)
	}
}

func health(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	client := grpc_health_v1.NewHealthClient(conn)
	for _, service := range []string{"", "marquee.serving.v1.RecommendationService"} {
		resp, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v %v", service, resp, err)
		}
	}
	if _, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "no.such.Service"}); status.Code(err) != codes.NotFound {
		t.Errorf("health of a service that is not there: %v", err)
	}
}

func reflection(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var names []string
	list := ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	for _, want := range []string{"marquee.catalog.v1.CatalogService", "marquee.ingest.v1.IngestService", "marquee.serving.v1.RecommendationService"} {
		if !slices.Contains(names, want) {
			t.Errorf("reflection lists %v, not %s", names, want)
		}
		resp := ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: want}})
		if len(resp.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("reflection cannot describe %s: %v", want, resp)
		}
	}
}
