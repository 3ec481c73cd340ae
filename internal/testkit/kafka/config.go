package kafka

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// config is the broker's server.properties. What a cluster replicates three times exists once here, and what waits for more
// members to come does not wait.
func (s *Server) config() string {
	plainAccounts := fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s";`, account, jaas(s.password))
	listeners := fmt.Sprintf("PLAIN://%s,SECURE://%s,MUTUAL://%s", s.ports.plain, s.ports.sasl, s.ports.mutual)
	var b strings.Builder
	settings := [][2]string{
		{"process.roles", "broker,controller"},
		{"node.id", "1"},
		{"controller.quorum.voters", "1@" + s.ports.controller},
		{"controller.listener.names", "CONTROLLER"},
		{"listeners", listeners + ",CONTROLLER://" + s.ports.controller},
		{"advertised.listeners", listeners},
		{"inter.broker.listener.name", "PLAIN"},
		{"listener.security.protocol.map", "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL"},

		{"listener.name.secure.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"},
		{"listener.name.secure.plain.sasl.jaas.config", plainAccounts},
		{"listener.name.secure.scram-sha-256.sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required;"},
		{"listener.name.secure.scram-sha-512.sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required;"},
		{"listener.name.mutual.ssl.client.auth", "required"},
		{"ssl.keystore.type", "PEM"},
		{"ssl.keystore.location", s.certs.keyStore},
		{"ssl.truststore.type", "PEM"},
		{"ssl.truststore.location", s.certs.ca},

		{"log.dirs", s.data()},
		{"auto.create.topics.enable", "false"},
		{"offsets.topic.replication.factor", "1"},
		{"offsets.topic.num.partitions", "1"},
		{"transaction.state.log.replication.factor", "1"},
		{"transaction.state.log.min.isr", "1"},
		{"transaction.state.log.num.partitions", "1"},
		{"share.coordinator.state.topic.replication.factor", "1"},
		{"share.coordinator.state.topic.min.isr", "1"},
		{"share.coordinator.state.topic.num.partitions", "1"},
		{"group.initial.rebalance.delay.ms", "0"},
		// A broker that was killed is let in again when its last registration has expired.
		{"broker.session.timeout.ms", "4000"},
		{"broker.heartbeat.interval.ms", "500"},
		{"group.min.session.timeout.ms", "1000"},
		{"log.cleaner.dedupe.buffer.size", "16777216"},
		{"log.cleaner.backoff.ms", "500"},
		{"log.retention.check.interval.ms", "500"},
		{"log.initial.task.delay.ms", "500"},
	}
	if s.opts.Sync {
		settings = append(settings, [2]string{"log.flush.interval.messages", "1"})
	}
	for _, kv := range settings {
		fmt.Fprintf(&b, "%s=%s\n", kv[0], property(kv[1]))
	}
	return b.String()
}

// property writes a value as Java's Properties read it: Latin-1, everything beyond as UTF-16 escapes.
func property(value string) string {
	var b strings.Builder
	for _, r := range value {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r > 0x7e:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// jaas quotes a value for a login module's options.
func jaas(value string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
}
