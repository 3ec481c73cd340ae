package ingest

import (
	"strings"
	"testing"
	"time"
)

func TestConfigNamesTheField(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatalf("the defaults are not valid: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"ingest.batch_events must be between 1 and 1000000, is 0":           func(c *Config) { c.BatchEvents = 0 },
		"ingest.flush_interval must be between 10ms and 10m0s, is 1ms":      func(c *Config) { c.FlushInterval = time.Millisecond },
		"ingest.buffer_bytes must be between 25165824 and":                  func(c *Config) { c.BufferBytes = 1 },
		"ingest.replication must be -1 (the broker's default)":              func(c *Config) { c.Replication = 0 },
		"ingest.group must have 1 to 249 bytes, has 0":                      func(c *Config) { c.Group = "" },
		"ingest.partitions must be between 1 and 1024, is 0\ningest.linger": func(c *Config) { c.Partitions, c.Linger = 0, -1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestTopics(t *testing.T) {
	topics := DefaultConfig().Topics()
	if len(topics) != 2 || topics[0].Name != "watch-events" || topics[0].Configs["retention.ms"] != "604800000" || topics[1].Name != "watch-events.dead" {
		t.Errorf("topics %+v", topics)
	}
}
