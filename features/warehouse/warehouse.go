// Package warehouse opens the analytical database by URL: a ClickHouse server, or the same engine embedded, in a child
// process that speaks ClickHouse's HTTP interface. Both are used through clickhouse-go alike.
package warehouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Config says which warehouse to open.
type Config struct {
	// URL is embedded:, embedded:DIR, clickhouse://user:pass@host:9000/database, or the http:// or https:// form of it.
	URL string `koanf:"url"`
	// MaxConnections bounds the connections to it.
	MaxConnections int `koanf:"max_connections"`
	// DialTimeout bounds making a connection, and starting the embedded engine.
	DialTimeout time.Duration `koanf:"dial_timeout"`
	// ReadTimeout bounds waiting for the first bytes of an answer.
	ReadTimeout time.Duration `koanf:"read_timeout"`
	// Cluster is for a warehouse of several servers.
	Cluster ClusterConfig `koanf:"cluster"`
}

// DefaultConfig is the embedded engine.
func DefaultConfig() Config {
	return Config{URL: "embedded:", MaxConnections: 8, DialTimeout: 30 * time.Second, ReadTimeout: 30 * time.Minute, Cluster: DefaultClusterConfig()}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	t, err := parse(c.URL)
	if err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.Cluster.validate(t.embedded))
	if c.MaxConnections < 2 || c.MaxConnections > 1000 {
		errs = append(errs, fmt.Errorf("warehouse.max_connections must be between 2 and 1000, is %d", c.MaxConnections))
	}
	if c.DialTimeout < 100*time.Millisecond || c.DialTimeout > time.Hour {
		errs = append(errs, fmt.Errorf("warehouse.dial_timeout must be between 100ms and 1h, is %s", c.DialTimeout))
	}
	if c.ReadTimeout < time.Second || c.ReadTimeout > 24*time.Hour {
		errs = append(errs, fmt.Errorf("warehouse.read_timeout must be between 1s and 24h, is %s", c.ReadTimeout))
	}
	return errors.Join(errs...)
}

// target is a parsed URL: the embedded engine's folder, or a server's options.
type target struct {
	embedded bool
	dir      string
	server   *clickhouse.Options
}

func parse(text string) (target, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	switch {
	case ok && scheme == "embedded":
		return target{embedded: true, dir: rest}, nil
	case ok && (scheme == "clickhouse" || scheme == "http" || scheme == "https"):
		o, err := clickhouse.ParseDSN(text)
		if err != nil {
			return target{}, fmt.Errorf("warehouse.url %s cannot be read: %s", redact(text), scrub(err, text))
		}
		return target{server: o}, nil
	}
	return target{}, fmt.Errorf("warehouse.url %q has no known scheme; valid are embedded:[DIR], clickhouse://host/database, http://host/database and https://host/database", redact(text))
}

// redact takes the password out of a URL, wherever clickhouse-go would look for one.
func redact(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		scheme, _, _ := strings.Cut(text, ":")
		return scheme + ":…"
	}
	if query := u.Query(); query.Has("password") {
		query.Set("password", "xxxxx")
		u.RawQuery = query.Encode()
	}
	return u.Redacted()
}

// scrub is the error's text without the URL and the password in it.
func scrub(err error, text string) string {
	out := strings.ReplaceAll(err.Error(), text, redact(text))
	u, perr := url.Parse(text)
	if perr != nil {
		// Where the URL ends and a password with unescaped characters begins, nobody can tell.
		return "it is no valid URL; characters other than letters and digits in a password must be percent-encoded"
	}
	if password, set := u.User.Password(); set && password != "" {
		out = strings.ReplaceAll(out, password, "xxxxx")
	}
	if password := u.Query().Get("password"); password != "" {
		out = strings.ReplaceAll(out, password, "xxxxx")
	}
	return out
}

// Warehouse is an open warehouse.
type Warehouse struct {
	conn    driver.Conn
	cluster ClusterConfig
	child   *supervisor // nil for a server
	close   func() error
}

// Open opens the warehouse that cfg names. An embedded one without a folder of its own lives in dataDir/warehouse.
func Open(ctx context.Context, cfg Config, dataDir string, log *slog.Logger) (*Warehouse, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	w := &Warehouse{cluster: cfg.Cluster}
	w.close = sync.OnceValue(w.end)
	if t.embedded {
		dir := t.dir
		if dir == "" {
			dir = filepath.Join(dataDir, "warehouse")
		}
		if w.child, err = supervise(ctx, dir, cfg.DialTimeout, log); err != nil {
			return nil, fmt.Errorf("start the embedded warehouse: %w", err)
		}
		t.server = w.child.options()
	}
	complete(t.server, cfg)
	if w.conn, err = clickhouse.Open(t.server); err != nil {
		return nil, errors.Join(fmt.Errorf("open the warehouse %s: %s", redact(cfg.URL), scrub(err, cfg.URL)), w.Close())
	}
	if err := w.conn.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("reach the warehouse %s: %w", redact(cfg.URL), err), w.Close())
	}
	return w, nil
}

// complete adds what the URL leaves open.
func complete(o *clickhouse.Options, cfg Config) {
	o.MaxOpenConns = cmp.Or(o.MaxOpenConns, cfg.MaxConnections)
	o.MaxIdleConns = cmp.Or(o.MaxIdleConns, o.MaxOpenConns)
	o.DialTimeout, o.ReadTimeout = cmp.Or(o.DialTimeout, cfg.DialTimeout), cmp.Or(o.ReadTimeout, cfg.ReadTimeout)
	if o.Settings == nil {
		o.Settings = clickhouse.Settings{}
	}
	if _, set := o.Settings["async_insert"]; !set {
		// Current servers gather inserts of several clients by default. Ours are large, and a range of the log is to be one
		// block, which is there or not when its insert returns.
		o.Settings["async_insert"] = 0
	}
	for name, value := range cfg.Cluster.settings() {
		if _, set := o.Settings[name]; !set {
			o.Settings[name] = value
		}
	}
}

// Conn is the connection pool; it ends with Close.
func (w *Warehouse) Conn() driver.Conn { return w.conn }

// Embedded says that this process runs the engine.
func (w *Warehouse) Embedded() bool { return w.child != nil }

// DSN is the URL by which another process on this machine may use the embedded engine while this one runs it. It carries
// the token: never log it. It is empty for a server.
func (w *Warehouse) DSN() string {
	if w.child == nil {
		return ""
	}
	return w.child.dsn()
}

// Version is the engine's version.
func (w *Warehouse) Version(ctx context.Context) (string, error) {
	var v string
	if err := w.conn.QueryRow(ctx, "SELECT version()").Scan(&v); err != nil {
		return "", fmt.Errorf("ask the warehouse its version: %w", err)
	}
	return v, nil
}

// Close closes the connections and ends the embedded engine; statements that still run fail. Closing twice is closing once.
func (w *Warehouse) Close() error { return w.close() }

func (w *Warehouse) end() error {
	var errs []error
	if w.conn != nil {
		errs = append(errs, w.conn.Close())
	}
	if w.child != nil {
		errs = append(errs, w.child.stop())
	}
	return errors.Join(errs...)
}
