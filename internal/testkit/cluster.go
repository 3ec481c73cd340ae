package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// OneShard is the name of the cluster that WriteCluster describes.
const OneShard = "one_shard"

// clusterXML is a ClickHouse configuration with a cluster of one shard, the server itself, and a Keeper in memory. The
// port is never opened: it is how the engine tells that the shard is itself.
const clusterXML = `<clickhouse>
    <tcp_port>9000</tcp_port>
    <zookeeper><implementation>testkeeper</implementation></zookeeper>
    <macros><shard>1</shard><replica>a</replica></macros>
    <remote_servers>
        <` + OneShard + `>
            <shard>
                <internal_replication>true</internal_replication>
                <replica><host>127.0.0.1</host></replica>
            </shard>
        </` + OneShard + `>
    </remote_servers>
</clickhouse>
`

// WriteCluster makes the embedded warehouse that will run in dir/warehouse a cluster of one shard. The same process cannot
// hold several: where more than one shard matters, a real cluster is needed.
func WriteCluster(t testing.TB, dir string) {
	t.Helper()
	dir = filepath.Join(dir, "warehouse")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.xml"), []byte(clusterXML), 0o644); err != nil {
		t.Fatal(err)
	}
}
