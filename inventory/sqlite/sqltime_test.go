package sqlite

import (
	"context"
	"errors"
	"fmt"
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
	path := filepath.Join(t.TempDir(), "collector.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// It takes three seconds, also with the race detector, which makes SQLite seventy times as slow. What is left behind
	// ends with it.
	numbers := func(n int64) string {
		return fmt.Sprintf("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT %d) ", n)
	}
	r, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	const sample = 100_000
	took := time.Hour
	for range 10 { // the shortest counts: on a busy machine one may take many times as long
		began := time.Now()
		err = r.Query(t.Context(), numbers(sample)+"SELECT count(*) FROM n", func([]string, []any) error { return nil })
		if took = min(took, time.Since(began)); err != nil {
			break
		}
	}
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	many := numbers(int64(sample * (3 * time.Second) / took))
	errInterrupted := errors.New("interrupted by the user")
	for name, statement := range map[string]string{
		"before a row": many + "SELECT count(*) FROM n",
		"after a row":  many + "SELECT x FROM n WHERE x = 1",
		"in a row":     "SELECT 1 UNION ALL SELECT * FROM (" + many + "SELECT count(*) FROM n)",
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
			// What was left behind ends; Find waits some time itself.
			for leftBehind := time.Now(); goleak.Find() != nil && time.Since(leftBehind) < time.Minute; {
			}
		}
	}
}
