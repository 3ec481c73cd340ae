package broker

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"marquee/internal/testkit"
)

func shared(kafkaURL string) engine {
	return engine{open: func(t *testing.T) *Broker { return openURL(t, kafkaURL, "") }}
}

func TestKafkaConforms(t *testing.T) { runConformance(t, shared(testkit.NeedKafka(t))) }

func TestKafkaWithAccountsAndTLSConforms(t *testing.T) {
	runConformance(t, shared(testkit.NeedKafkaServer(t).SASLURL("scram-sha-512")))
}

func TestKafkaKeepsEverythingOverARestart(t *testing.T) {
	server := testkit.StartKafka(t)
	testRestart(t, engine{
		open: func(t *testing.T) *Broker { return openURL(t, server.URL(), "") },
		restart: func(t *testing.T, b *Broker) *Broker {
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			return b // Its clients find the broker again.
		},
	})
}

func TestEveryWayToSignIn(t *testing.T) {
	server := testkit.NeedKafkaServer(t)
	for name, u := range map[string]string{
		"plain":              server.SASLURL("plain"),
		"scram-sha-256":      server.SASLURL("scram-sha-256"),
		"client certificate": server.MutualURL(),
		"unchecked":          strings.Replace(server.SASLURL("plain"), "ca=", "insecure=true&ca=", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "unchecked" {
				parsed, err := url.Parse(u)
				if err != nil {
					t.Fatal(err)
				}
				query := parsed.Query()
				query.Del("ca")
				parsed.RawQuery = query.Encode()
				u = parsed.String()
			}
			testHeaders(t, shared(u))
		})
	}
}

func openFails(t *testing.T, cfg Config) error {
	t.Helper()
	b, err := Open(t.Context(), cfg, t.TempDir(), testkit.Log(t))
	if err == nil {
		t.Fatalf("opened; %v", b.Close())
	}
	return err
}

func TestARefusedAccountIsAnErrorWithoutThePassword(t *testing.T) {
	server := testkit.NeedKafkaServer(t)
	u, err := url.Parse(server.SASLURL("scram-sha-256"))
	if err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		query := u.Query()
		query.Set("sasl", mechanism)
		u.RawQuery, u.User = query.Encode(), url.UserPassword("marquee", "wrong-Secret:@/?")
		cfg := DefaultConfig()
		cfg.URL, cfg.ConnectTimeout = u.String(), time.Minute
		err := openFails(t, cfg)
		if !strings.Contains(err.Error(), "does not accept the account") || strings.Contains(err.Error(), "ecret") {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
}

func TestAnUnreachableBrokerIsNamed(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // Takes connections and says nothing.
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	closed := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for name, addr := range map[string]string{"refused": closed, "silent": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.URL, cfg.ConnectTimeout = "kafka://user:Secret@"+addr+"?sasl=plain", 500*time.Millisecond
			err := openFails(t, cfg)
			if !strings.Contains(err.Error(), "no answer from "+addr+" within 500ms") || strings.Contains(err.Error(), "Secret") {
				t.Error(err)
			}
		})
	}
}
