package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestServerLogWarnsOfWhatIsWrongOnly(t *testing.T) {
	var out bytes.Buffer
	l := serverLog{slog.New(slog.NewTextHandler(&out, nil))}
	l.Logf(kfake.LogLevelWarn, "txn: EndTxn slow pid=%d epoch=%d elapsed=%dms", 1, 2, 8)
	if out.Len() > 0 {
		t.Errorf("a write of 8 ms is logged: %s", out.String())
	}
	l.Logf(kfake.LogLevelWarn, "persist batch %s: no space left on device", "watch-events-0")
	l.Logf(kfake.LogLevelError, "the rest is lost")
	if got := out.String(); !strings.Contains(got, "no space left") || !strings.Contains(got, "level=ERROR") {
		t.Errorf("logged %s", got)
	}
}
