package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/record"
)

// A statement that does not end soon is ended: by the time limit, and by the end of the context, as after Ctrl-C. It
// may be busy before its first row or after it.
func TestLongStatementIsEnded(t *testing.T) {
	// It takes some seconds. What is left behind ends with it.
	const numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 8000000) "
	path := filepath.Join(t.TempDir(), "collector.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	errInterrupted := errors.New("interrupted by the user")
	for name, statement := range map[string]string{
		"before a row": numbers + "SELECT count(*) FROM n",
		"after a row":  numbers + "SELECT x FROM n WHERE x = 1",
		"in a row":     "SELECT 1 UNION ALL SELECT * FROM (" + numbers + "SELECT count(*) FROM n)",
	} {
		for _, limited := range []bool{true, false} {
			r, err := OpenReader(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			if limited {
				r.queryTimeout = 200 * time.Millisecond
			} else {
				time.AfterFunc(200*time.Millisecond, func() { cancel(errInterrupted) })
			}
			ended, started := make(chan error, 1), time.Now()
			go func() { ended <- r.Query(ctx, statement, func([]string, []any) error { return nil }) }()
			select {
			case err := <-ended:
				isLimit := err != nil && strings.Contains(err.Error(), "ran longer than 200ms") && record.HintOf(err) != ""
				if limited && !isLimit || !limited && !errors.Is(err, errInterrupted) {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: it does not end", name)
			}
			if took := time.Since(started); took > 4*time.Second {
				t.Errorf("%s: it ended after %s", name, took)
			}
			cancel(nil)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			// Find waits some time itself. What was left behind takes a minute with the race detector.
			for leftBehind := time.Now(); goleak.Find() != nil && time.Since(leftBehind) < 5*time.Minute; {
			}
		}
	}
}
