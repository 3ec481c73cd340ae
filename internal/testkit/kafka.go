package testkit

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"marquee/internal/testkit/kafka"
)

// One Kafka broker a test binary, begun by the first test that asks.
var sharedKafka = sync.OnceValues(func() (*kafka.Server, error) {
	root, err := projectRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "marquee-kafka-")
	if err != nil {
		return nil, err
	}
	return kafka.Start(context.Background(), kafka.Options{Cache: kafka.Cache(root), Dir: dir, Remove: true})
})

// NeedKafka returns the kafka:// URL of a real Apache Kafka broker that all tests of the binary share: name topics and groups
// after the test. It stops and its files go when the test binary ends.
func NeedKafka(t testing.TB) string {
	t.Helper()
	return NeedKafkaServer(t).URL()
}

// NeedKafkaServer is NeedKafka for tests that also need its secured listeners. They must not close it.
func NeedKafkaServer(t testing.TB) *kafka.Server {
	t.Helper()
	needKafkaReady(t)
	server, err := sharedKafka()
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// StartKafka starts a broker of the test's own, which the test may close and restart.
func StartKafka(t testing.TB) *kafka.Server {
	t.Helper()
	needKafkaReady(t)
	server, err := kafka.Start(t.Context(), kafka.Options{Cache: kafka.Cache(ProjectRoot(t)), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("stop Kafka: %v", err)
		}
	})
	return server
}

func needKafkaReady(t testing.TB) {
	t.Helper()
	err := kafka.Ready(kafka.Cache(ProjectRoot(t)))
	switch {
	case errors.Is(err, kafka.ErrNoJava):
		LeftOut(t, "Java", "install a Java runtime, 17 or newer (Debian: apt-get install openjdk-17-jre-headless)")
	case errors.Is(err, kafka.ErrNoJars):
		LeftOut(t, "Kafka jars", "run make kafka-jars")
	case err != nil:
		t.Fatal(err)
	}
}
