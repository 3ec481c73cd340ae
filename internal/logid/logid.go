// Package logid tells one log from another. Offsets mean something only within the log they were read from: offset 100 of
// another cluster, or of a topic that was deleted and made again under its name, is another record. Whatever is stored by
// offset is stored for one log, and the Book in the database says for which.
package logid

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Log names one log: a topic of one cluster, from its creation to its deletion.
type Log struct {
	Topic string `json:"topic"`
	// Cluster is the cluster's id.
	Cluster string `json:"cluster_id"`
	// ID is the topic's id, which no other topic of that name has; empty when the broker gives topics none.
	ID string `json:"topic_id"`
}

// String names the log for people.
func (l Log) String() string {
	id := l.ID
	if id == "" {
		id = "without an id"
	}
	return fmt.Sprintf("topic %s (id %s) of cluster %q", l.Topic, id, l.Cluster)
}

// Same says whether both are one log. A topic id that one of them does not know is not held against the other.
func (l Log) Same(o Log) bool {
	return l.Topic == o.Topic && l.Cluster == o.Cluster && (l.ID == o.ID || l.ID == "" || o.ID == "")
}

// Of asks the broker which log it has under a topic's name.
func Of(ctx context.Context, client *kgo.Client, topic string) (Log, error) {
	m, err := kadm.NewClient(client).Metadata(ctx, topic)
	if err != nil {
		return Log{}, fmt.Errorf("ask the broker which log topic %s is: %w", topic, err)
	}
	t, ok := m.Topics[topic]
	if !ok {
		return Log{}, fmt.Errorf("ask the broker which log topic %s is: it names no such topic", topic)
	}
	if t.Err != nil {
		return Log{}, fmt.Errorf("ask the broker which log topic %s is: %w", topic, t.Err)
	}
	l := Log{Topic: topic, Cluster: m.Cluster}
	if t.ID != (kadm.TopicID{}) {
		l.ID = t.ID.String()
	}
	return l, nil
}

// OtherError says that the broker has another log than the one that stored offsets belong to.
type OtherError struct {
	// Keeper is what belongs to Want, for people.
	Keeper string
	// Want is the log that is followed, Got the one the broker has.
	Want, Got Log
}

func (e *OtherError) Error() string {
	return fmt.Sprintf("%s belongs to %s, but the broker has %s: offsets of one mean nothing in the other, so nothing is read from it. "+
		"Set broker.url to the broker that has the first; or, when that log is gone for good and this one is to take its place, stop "+
		"the service and run `marquee events adopt-log` once", e.Keeper, e.Want, e.Got)
}
