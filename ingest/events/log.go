package events

import (
	"context"
	"encoding/json"
	"fmt"

	"marquee/internal/lake"
	"marquee/internal/logid"
)

// LogKey is where the lake keeps which log its positions belong to.
const LogKey = Prefix + "log.json"

// maxPartition bounds the partitions a log record may name.
const maxPartition = 1 << 20

// ReadLog returns which log the lake's events come from, and whether it says so: one that no consumer has written to
// does not.
func ReadLog(ctx context.Context, l *lake.Lake) (logid.Entry, bool, error) {
	there, err := l.Exists(ctx, LogKey)
	if err != nil || !there {
		return logid.Entry{}, false, err
	}
	content, err := l.ReadFile(ctx, LogKey)
	if err != nil {
		return logid.Entry{}, false, err
	}
	e, err := decodeLog(content)
	return e, err == nil, err
}

func decodeLog(content []byte) (logid.Entry, error) {
	var e logid.Entry
	if err := json.Unmarshal(content, &e); err != nil {
		return e, fmt.Errorf("%s does not say which log the lake's events come from: %w; write it back from a copy of the lake", LogKey, err)
	}
	if e.Log.Topic == "" || e.Log.Cluster == "" && e.Log.ID == "" {
		return e, fmt.Errorf("%s does not say which log the lake's events come from: it lacks the topic or its ids; write it back from a copy of the lake", LogKey)
	}
	for p := range e.Bases {
		if p < 0 || p > maxPartition {
			return e, fmt.Errorf("%s has a base for partition %d, and partitions are between 0 and %d", LogKey, p, maxPartition)
		}
	}
	return e, nil
}

// WriteLog makes the lake say which log its events come from.
func WriteLog(ctx context.Context, l *lake.Lake, e logid.Entry) error {
	content, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", LogKey, err)
	}
	_, err = l.WriteBytes(ctx, LogKey, append(content, '\n'))
	return err
}
