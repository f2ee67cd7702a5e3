package runlog

import (
	"context"
	"log/slog"
	"time"
)

// An episode is a failure that repeats run after run. It is logged when it begins, when its cause changes, once a day,
// and when it ends; in between it is logged at level debug. A denied account with a run each quarter of an hour would
// otherwise bury everything else.
type episode struct {
	since, logged time.Time
}

const episodeReminder = 24 * time.Hour

// repeat logs one more occurrence of the failure.
func (e *episode) repeat(log *slog.Logger, message string, attrs ...any) {
	level := slog.LevelDebug
	if now := time.Now(); e.logged.IsZero() || now.Sub(e.logged) >= episodeReminder {
		level, e.logged = slog.LevelWarn, now
		if e.since.IsZero() {
			e.since = now
		}
	}
	if lasted := e.lasted(); lasted > 0 {
		attrs = append(attrs, "duration", lasted)
	}
	log.Log(context.Background(), level, message, attrs...)
}

// lasted is how long the failure has lasted.
func (e *episode) lasted() time.Duration { return time.Since(e.since).Round(time.Second) }
