package deliver_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(feedKillTestEnv); args != "" {
		fmt.Fprintln(os.Stderr, runFeedKillTest(args))
		os.Exit(1)
	}
	if args := os.Getenv(killTestEnv); args != "" {
		fmt.Fprintln(os.Stderr, runKillTest(args))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
