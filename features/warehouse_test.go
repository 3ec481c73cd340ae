package features_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

func openWarehouse(t testing.TB) driver.Conn {
	t.Helper()
	cmd := exec.Command("/tmp/feat/httpd", "-path", t.TempDir())
	cmd.Env = append(os.Environ(), "CHDB_LIB_PATH=/tmp/feat/npm/package/libchdb.so")
	cmd.Stderr = os.Stderr
	stdin, _ := cmd.StdinPipe()
	t.Cleanup(func() { stdin.Close() })
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{strings.Fields(line)[1]}, Protocol: clickhouse.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		`CREATE TABLE events_raw (event_id UUID, schema_version UInt16, profile_id String, title_id String, playable_id String, play_id String, type Enum8('play_start'=1,'progress'=2,'play_end'=3,'click'=4,'like'=5,'dislike'=6,'not_interested'=7,'list_add'=8,'list_remove'=9,'search'=10,'slate_seen'=11), occurred_at DateTime64(6,'UTC'), received_at DateTime64(6,'UTC'), session_id String, device_class Enum8('unspecified'=0,'tv'=1,'phone'=2,'tablet'=3,'desktop'=4,'console'=5), country LowCardinality(String), surface LowCardinality(String), autoplay Bool, position_ms Int64, watched_ms Int64, duration_ms Int64, query String, request_id String, row Nullable(UInt32), rank Nullable(UInt32), seen_title_ids Array(String), import_id LowCardinality(String), clock_skew Int64, kafka_partition Int32, kafka_offset Int64) ENGINE=MergeTree PARTITION BY toYYYYMM(received_at) ORDER BY (profile_id, occurred_at, event_id)`,
		`CREATE VIEW events AS SELECT *, if(clock_skew != 0, received_at, occurred_at) AS effective_at FROM events_raw ORDER BY received_at, kafka_partition, kafka_offset LIMIT 1 BY event_id`,
		`CREATE TABLE titles_raw (title_id String, kind LowCardinality(String), name String, year Int32, added_at DateTime64(6,'UTC'), genres Array(String), maturity_age Nullable(UInt8), runtime_ms Int64, language LowCardinality(String), revision Int64, deleted Bool, proto String) ENGINE=ReplacingMergeTree(revision) ORDER BY title_id`,
		`CREATE VIEW titles AS SELECT * FROM titles_raw FINAL WHERE NOT deleted`,
	} {
		if err := conn.Exec(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}
