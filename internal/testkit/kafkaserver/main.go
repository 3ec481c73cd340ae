// Command kafkaserver fetches Apache Kafka's jars from Maven Central, once, and runs a broker from them until it is
// interrupted. `make kafka` and `make kafka-jars` call it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"marquee/internal/testkit/kafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "kafkaserver:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	fetchOnly := flag.Bool("fetch", false, "only fetch the jars")
	listen := flag.String("listen", "127.0.0.1:9092", "`address` to listen on")
	sync := flag.Bool("sync", false, "sync the log to disk before acknowledging")
	flag.Parse()
	cache := kafka.Cache(".")
	if err := kafka.Fetch(ctx, cache, os.Stderr); err != nil || *fetchOnly {
		return err
	}
	fmt.Fprintf(os.Stderr, "starting Apache Kafka %s …\n", kafka.Version)
	server, err := kafka.Start(ctx, kafka.Options{Cache: cache, Dir: filepath.Join(cache, "broker"), Listen: *listen, Sync: *sync})
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", server.URL())
	fmt.Fprintf(os.Stderr, "log and data in %s; interrupt to stop\n", filepath.Join(cache, "broker"))
	select {
	case <-ctx.Done():
		return server.Close()
	case <-server.Done():
		return errors.Join(fmt.Errorf("the broker ended: see %s", filepath.Join(cache, "broker", "kafka.log")), server.Close())
	}
}
