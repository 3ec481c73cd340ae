package broker

import (
	"testing"

	"marquee/internal/testkit"
)

func openURL(t testing.TB, url, dataDir string) *Broker {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL = url
	b, err := Open(t.Context(), cfg, dataDir, testkit.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	return b
}

func reopen(t *testing.T, b *Broker) *Broker {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return openURL(t, "embedded:"+b.embedded.dir, "")
}

func TestEmbeddedConforms(t *testing.T) {
	runConformance(t, engine{
		open:    func(t *testing.T) *Broker { return openURL(t, "embedded:", t.TempDir()) },
		restart: reopen,
	})
}
