package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clientLog passes a client's log on. What the client calls information is every metadata update: detail, to us.
type clientLog struct{ log *slog.Logger }

func (l clientLog) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		to = slog.LevelError
	case kgo.LogLevelWarn:
		to = slog.LevelWarn
	}
	l.log.Log(context.Background(), to, msg, keyvals...)
}

// serverLog passes the embedded broker's log on.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error(fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		level := slog.LevelWarn
		// It calls every synced write of some milliseconds slow.
		if strings.HasPrefix(format, "txn: ") && strings.Contains(format, " slow ") {
			level = slog.LevelDebug
		}
		l.log.Log(context.Background(), level, fmt.Sprintf(format, args...))
	}
}
