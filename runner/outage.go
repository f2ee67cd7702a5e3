package runner

import (
	"log/slog"
	"sync"

	"github.com/aws-collector/collector/record"
)

// An outage is a failure that may affect many at once. It is logged once when the first of them fails, and once when
// none fails any more.
type outage struct {
	failureMessage, recoveryMessage string

	mu       sync.Mutex
	affected map[string]struct{} // those that failed and have not succeeded since
}

// report takes the result of an attempt for name; a nil error is a success. A success also removes the affected that no
// longer exist.
func (o *outage) report(log *slog.Logger, name string, err error, exists func(string) bool, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.affected) > 0
	switch {
	case err == nil && !before:
		return
	case err == nil:
		delete(o.affected, name)
		for other := range o.affected {
			if !exists(other) {
				delete(o.affected, other)
			}
		}
	default:
		if o.affected == nil {
			o.affected = map[string]struct{}{}
		}
		o.affected[name] = struct{}{}
	}
	switch now := len(o.affected) > 0; {
	case now && !before:
		log.Error(o.failureMessage, append(args, "error", err, "hint", record.HintOf(err))...)
	case before && !now:
		log.Info(o.recoveryMessage)
	}
}
