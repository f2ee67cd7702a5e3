package account

import (
	"testing"

	"github.com/aws-collector/collector/config"
)

// A daemon retains the sessions of its accounts for the next run. With --once there is no next run.
func TestOnceForgetsSessions(t *testing.T) {
	for _, once := range []bool{false, true} {
		block := []config.Account{{Name: "prod", Schedule: "@hourly"}}
		a, err := (&Opener{Once: once}).Account(&block[0])
		if err != nil {
			t.Fatal(err)
		}
		if leaves := a.AfterRun != nil; leaves != once {
			t.Errorf("once %v: session forgotten after the run: %v", once, leaves)
		}
	}
}
