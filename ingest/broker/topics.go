package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicSpec is a topic as it should be.
type TopicSpec struct {
	Name       string
	Partitions int32
	// ReplicationFactor is the number of copies; -1 means the broker's default. The embedded broker keeps one.
	ReplicationFactor int16
	// Configs are Kafka's topic settings, such as retention.ms or cleanup.policy. The embedded broker deletes by
	// retention.ms and retention.bytes where they are set here, and for ever keeps what has neither.
	Configs map[string]string
}

// PartitionsError says that a topic exists with fewer partitions than wanted. They are not added in silence: records with a
// key would go to other partitions than their predecessors.
type PartitionsError struct {
	Topic      string
	Have, Want int32
}

func (e *PartitionsError) Error() string {
	return fmt.Sprintf("topic %s has %d partitions, fewer than the %d wanted: ask for %d, or add partitions with the broker's own tools "+
		"once its consumers have read everything (records of one key move to another partition)", e.Topic, e.Have, e.Want, e.Have)
}

// EnsureTopics creates the topics that are missing and returns when all of them have leaders. A topic that exists is kept:
// fewer partitions than wanted is a *PartitionsError; settings that differ are brought into line in the embedded broker,
// which has no other tools, and only logged of Kafka.
func (b *Broker) EnsureTopics(ctx context.Context, specs ...TopicSpec) error {
	client, err := b.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	var errs []error
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
		if err := b.ensure(ctx, client, spec); err != nil {
			errs = append(errs, fmt.Errorf("ensure topic %s: %w", spec.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return awaitLeaders(ctx, client, names)
}

func (b *Broker) ensure(ctx context.Context, client *kgo.Client, spec TopicSpec) error {
	replication := spec.ReplicationFactor
	if b.Embedded() {
		replication = 1
	}
	configs := map[string]*string{}
	for name, value := range b.topicConfigs(spec) {
		configs[name] = &value
	}
	_, err := kadm.NewClient(client).CreateTopic(ctx, spec.Partitions, replication, configs, spec.Name)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return b.compare(ctx, client, spec)
	}
	if err == nil {
		b.log.Info("topic created", "topic", spec.Name, "partitions", spec.Partitions)
	}
	return err
}

func (b *Broker) topicConfigs(spec TopicSpec) map[string]string {
	configs := maps.Clone(spec.Configs)
	if configs == nil {
		configs = map[string]string{}
	}
	if _, ok := configs["max.message.bytes"]; !ok {
		configs["max.message.bytes"] = strconv.Itoa(int(b.cfg.MaxBatchBytes))
	}
	return configs
}

// compare holds a topic that exists against the one that is wanted.
func (b *Broker) compare(ctx context.Context, client *kgo.Client, spec TopicSpec) error {
	topics, err := listTopics(ctx, client, spec.Name)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(topics[0].ErrorCode); err != nil {
		return err
	}
	if have := int32(len(topics[0].Partitions)); have < spec.Partitions {
		return &PartitionsError{Topic: spec.Name, Have: have, Want: spec.Partitions}
	}
	return b.compareConfigs(ctx, kadm.NewClient(client), spec)
}

func (b *Broker) compareConfigs(ctx context.Context, adm *kadm.Client, spec TopicSpec) error {
	described, err := adm.DescribeTopicConfigs(ctx, spec.Name)
	if err != nil {
		return err
	}
	resource, err := described.On(spec.Name, nil)
	if err != nil {
		return err
	}
	if resource.Err != nil {
		return resource.Err
	}
	var changes []kadm.AlterConfig
	for _, have := range resource.Configs {
		if want, ok := spec.Configs[have.Key]; ok && have.MaybeValue() != want {
			b.log.Warn("a topic's setting differs from the configuration", "topic", spec.Name, "setting", have.Key,
				"have", have.MaybeValue(), "want", want, "changed", b.Embedded())
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: have.Key, Value: &want})
		}
	}
	if len(changes) == 0 || !b.Embedded() {
		return nil
	}
	responses, err := adm.AlterTopicConfigs(ctx, changes, spec.Name)
	if err != nil {
		return err
	}
	_, err = responses.On(spec.Name, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	return err
}

// awaitLeaders returns when every partition of the topics has a leader: what is created is not at once ready.
func awaitLeaders(ctx context.Context, client *kgo.Client, names []string) error {
	if len(names) == 0 {
		return nil
	}
	for {
		topics, err := listTopics(ctx, client, names...)
		if err == nil {
			err = leaderless(topics)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the topics to be ready: %w", errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func leaderless(topics []kmsg.MetadataResponseTopic) error {
	for _, topic := range topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", *topic.Topic, err)
		}
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("topic %s: partition %d: %w", *topic.Topic, p.Partition, err)
			}
			if p.Leader < 0 {
				return fmt.Errorf("topic %s: partition %d has no leader", *topic.Topic, p.Partition)
			}
		}
	}
	return nil
}

// listTopics asks the broker for the topics as they are now; all of them when none is named. The admin client would answer from
// what it has known for up to five seconds.
func listTopics(ctx context.Context, client *kgo.Client, names ...string) ([]kmsg.MetadataResponseTopic, error) {
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for i := range response.Topics {
		if response.Topics[i].Topic == nil || len(names) > 0 && len(response.Topics) != len(names) {
			return nil, fmt.Errorf("list topics: the broker answered with %d topics for %d names", len(response.Topics), len(names))
		}
	}
	return response.Topics, nil
}
