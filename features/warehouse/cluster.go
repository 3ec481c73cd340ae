package warehouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// ClusterConfig says that the warehouse is a cluster of ClickHouse servers, and how its tables are kept there.
//
// Every table T is then a Distributed table over T_local, which each shard has a part of. Rows go to a shard by the first
// column of the table's sorting key (watch events by profile), so that rows that replace each other meet.
type ClusterConfig struct {
	// Name is the cluster's, as the servers' remote_servers have it. Empty: the warehouse is one server.
	Name string `koanf:"name"`
	// Replicated says that shards have replicas, by Replicated engines; false is for shards of one server each, without a
	// Keeper.
	Replicated bool `koanf:"replicated"`
	// Path and Replica are the Keeper path and replica name of the tables, with the servers' macros, as in
	// /clickhouse/tables/{uuid}/{shard} and {replica}. Both empty: the servers' default_replica_path and
	// default_replica_name.
	Path    string `koanf:"path"`
	Replica string `koanf:"replica"`
	// OnCluster says that statements of the schema are made with ON CLUSTER; false is for a database of the engine
	// Replicated, which brings them to all its servers by itself.
	OnCluster bool `koanf:"on_cluster"`
	// Quorum is how many replicas of a shard must have an insert before it counts: auto for more than half, or a number; 0
	// and 1 are the one it was sent to.
	Quorum string `koanf:"quorum"`
}

// DefaultClusterConfig is no cluster; with a name, one with replicas.
func DefaultClusterConfig() ClusterConfig {
	return ClusterConfig{Replicated: true, OnCluster: true, Quorum: "auto"}
}

var clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// validate says what is wrong with the cluster's configuration.
func (c ClusterConfig) validate(embedded bool) error {
	if c.Name == "" {
		return nil
	}
	var errs []error
	if embedded {
		errs = append(errs, errors.New("warehouse.cluster.name is set, but warehouse.url is embedded:, which is one node; a cluster is reached by clickhouse://host/database"))
	}
	if !clusterName.MatchString(c.Name) {
		errs = append(errs, fmt.Errorf("warehouse.cluster.name must be of 1 to 128 letters, digits, _ and -, is %q", c.Name))
	}
	if n, err := strconv.ParseUint(c.Quorum, 10, 8); c.Quorum != "auto" && (err != nil || n > 100) {
		errs = append(errs, fmt.Errorf("warehouse.cluster.quorum must be auto or a number from 0 to 100, is %q", c.Quorum))
	}
	return errors.Join(append(errs, c.validatePath())...)
}

func (c ClusterConfig) validatePath() error {
	switch {
	case (c.Path == "") != (c.Replica == ""):
		return errors.New("warehouse.cluster.path and warehouse.cluster.replica must be set together or not at all")
	case c.Path == "":
		return nil
	case !c.Replicated:
		return errors.New("warehouse.cluster.path is for replicated tables, and warehouse.cluster.replicated is false")
	case !strings.HasPrefix(c.Path, "/"):
		return fmt.Errorf("warehouse.cluster.path must begin with /, is %q", c.Path)
	case !strings.Contains(c.Path, "{uuid}") && !strings.Contains(c.Path, "{table}"):
		// A rebuild fills a second table of the same kind beside the first.
		return fmt.Errorf("warehouse.cluster.path must have {uuid} or {table} in it, as no two tables may share a path; is %q", c.Path)
	}
	return nil
}

// settings are those of every connection to a cluster, where the URL does not say otherwise.
func (c ClusterConfig) settings() clickhouse.Settings {
	if c.Name == "" {
		return nil
	}
	s := clickhouse.Settings{
		// An insert is answered when the shards have it, not when it lies on the first server to be sent on.
		"distributed_foreground_insert": 1,
		// Everybody reads the replica that was written, as long as it is up: what was answered is there to be read.
		"load_balancing": "in_order", "prefer_localhost_replica": 0,
		// A result without a shard that is down would be wrong without saying so.
		"skip_unavailable_shards": 0,
	}
	if c.Replicated {
		s["insert_quorum"] = c.Quorum
	}
	return s
}

// local is the name of the table that has a shard's part of a table, or of the view that reads only that.
func local(table string) string { return table + "_local" }

// layout describes how the cluster spreads rows over its shards, and refuses a cluster that would not keep them right. It is
// empty for one server.
func (w *Warehouse) layout(ctx context.Context) (string, error) {
	if w.cluster.Name == "" {
		return "", nil
	}
	rows, err := w.conn.Query(ctx, `SELECT shard_num, any(shard_weight), min(internal_replication), uniqExact(replica_num)
		FROM system.clusters WHERE cluster = ? GROUP BY shard_num ORDER BY shard_num`, w.cluster.Name)
	if err != nil {
		return "", fmt.Errorf("ask the server for cluster %s: %w", w.cluster.Name, err)
	}
	var weights []string
	var wrong error
	for rows.Next() {
		var shard, weight uint32
		var internal uint8
		var replicas uint64
		if err := rows.Scan(&shard, &weight, &internal, &replicas); err != nil {
			return "", errors.Join(err, rows.Close())
		}
		switch {
		case !w.cluster.Replicated && replicas > 1:
			wrong = fmt.Errorf("shard %d of cluster %s has %d replicas, but warehouse.cluster.replicated is false", shard, w.cluster.Name, replicas)
		case w.cluster.Replicated && internal == 0:
			wrong = fmt.Errorf("cluster %s must have <internal_replication>true</internal_replication> for shard %d: without it every replica is sent every insert", w.cluster.Name, shard)
		}
		weights = append(weights, strconv.FormatUint(uint64(weight), 10))
	}
	if err := errors.Join(rows.Err(), rows.Close(), wrong); err != nil {
		return "", err
	}
	if len(weights) == 0 {
		return "", w.noCluster(ctx)
	}
	return "cityHash64 of the sorting key's first column over shards of weights " + strings.Join(weights, ", "), nil
}

func (w *Warehouse) noCluster(ctx context.Context) error {
	var known []string
	if err := w.conn.QueryRow(ctx, "SELECT groupUniqArray(cluster) FROM system.clusters").Scan(&known); err != nil {
		return fmt.Errorf("ask the server for its clusters: %w", err)
	}
	slices.Sort(known)
	return fmt.Errorf("warehouse.cluster.name is %q, which the server does not know; it knows %q", w.cluster.Name, known)
}

// checkForm finds out whether a schema that is there was made for one server or for a cluster, and refuses the other: the
// tables' names mean different things.
func (w *Warehouse) checkForm(ctx context.Context) error {
	var engines []string
	err := w.conn.QueryRow(ctx, "SELECT groupArray(engine) FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'").Scan(&engines)
	if err != nil {
		return fmt.Errorf("look for the warehouse's schema: %w", err)
	}
	for _, engine := range engines {
		switch spread := engine == "Distributed"; {
		case spread && w.cluster.Name == "":
			return errors.New("the warehouse's database was made for a cluster: set warehouse.cluster.name to it, or name another database in warehouse.url")
		case !spread && w.cluster.Name != "":
			return fmt.Errorf("the warehouse's database was made for one server, and warehouse.cluster.name is %s: name a new database in warehouse.url and fill it with `marquee warehouse rebuild`", w.cluster.Name)
		}
	}
	return nil
}
