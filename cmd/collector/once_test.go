package main

import (
	"testing"

	"github.com/aws-collector/collector/config"
)

// A daemon retains the sessions of its accounts for the next run. With --once there is no next run.
func TestOnceForgetsSessions(t *testing.T) {
	for _, once := range []bool{false, true} {
		p := &program{opt: runOptions{once: once}}
		block := []config.Account{{Name: "prod", Schedule: "@hourly"}}
		a, err := p.runnerAccount(&block[0], specCache{})
		if err != nil {
			t.Fatal(err)
		}
		if leaves := a.AfterRun != nil; leaves != once {
			t.Errorf("once %v: session forgotten after the run: %v", once, leaves)
		}
	}
}
