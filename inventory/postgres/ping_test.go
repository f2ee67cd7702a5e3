package postgres

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
)

// A statement is cut off when the server does not know it for a while, or shows no activity for it. A working statement
// is not.
func TestCutStuck(t *testing.T) {
	server := cluster.Server(t)
	for name, c := range map[string]struct {
		at    func(n int) map[int32]backend // the server's answer in the n-th second
		after int                           // seconds until it is cut off; 0: never
	}{
		"it works": {
			func(n int) map[int32]backend { return map[int32]backend{1: {activity: string(rune('a' + n%26))}} }, 0,
		},
		"it works now and then": {
			func(n int) map[int32]backend { return map[int32]backend{1: {activity: string(rune('a' + n/100%26))}} }, 0,
		},
		"it is idle": {func(n int) map[int32]backend {
			return map[int32]backend{1: {idle: true, activity: string(rune('a' + n%26))}}
		}, 5},
		"it is not there": {func(int) map[int32]backend { return nil }, 5},
		"it comes late": {func(n int) map[int32]backend {
			return map[int32]backend{1: {idle: n < 4, activity: string(rune('a' + n%26))}}
		}, 0},
		"nothing shows it": {func(int) map[int32]backend { return map[int32]backend{1: {activity: "same"}} }, 120},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := pgx.Connect(t.Context(), server.DSN())
			if err != nil {
				t.Fatal(err)
			}
			defer closeConn(conn)
			pid := int32(conn.PgConn().PID())
			synctest.Test(t, func(t *testing.T) {
				var s statements
				s.begin(conn)
				if pids := s.pids(); len(pids) != 1 || pids[0] != pid {
					t.Fatal(pids)
				}
				cutAt := 0
				for n := range 600 {
					backends := map[int32]backend{}
					for _, b := range c.at(n) {
						backends[pid] = b
					}
					if cut := s.cutStuck([]int32{pid}, backends); cut > 0 && cutAt == 0 {
						cutAt = n
					}
					time.Sleep(time.Second)
				}
				if cutAt != c.after {
					t.Errorf("it is broken off after %d s, want %d", cutAt, c.after)
				}
			})
		})
	}
}
