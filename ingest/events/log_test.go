package events

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"marquee/internal/lake"
	"marquee/internal/logid"
)

func TestTheLakeRemembersItsLog(t *testing.T) {
	l, err := lake.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := ReadLog(t.Context(), l); ok || err != nil {
		t.Fatalf("a new lake knows a log (%v)", err)
	}
	want := logid.Entry{Log: logid.Log{Topic: "t", Cluster: "c", ID: "i"}, Bases: map[int32]int64{3: -9}}
	if err := WriteLog(t.Context(), l, want); err != nil {
		t.Fatal(err)
	}
	got, ok, err := ReadLog(t.Context(), l)
	if err != nil || !ok || cmp.Diff(want, got) != "" {
		t.Errorf("%+v, %v (%v)", got, ok, err)
	}
	for _, broken := range []string{"", "{", "{}", `{"log":{"topic":"t"}}`, `{"log":{"topic":"t","cluster_id":"c"},"bases":{"-1":2}}`} {
		if _, err := l.WriteBytes(t.Context(), LogKey, []byte(broken)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ReadLog(t.Context(), l); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}

func FuzzDecodeLog(f *testing.F) {
	f.Add([]byte(`{"log":{"topic":"t","cluster_id":"c","topic_id":"i"},"bases":{"0":12}}`))
	f.Add([]byte(`{"bases":{"4000000000":1}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if e, err := decodeLog(content); err == nil && e.Log.Topic == "" {
			t.Errorf("a record without a topic was read from %q", content)
		}
	})
}
