package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// killedEnv names the environment variable that makes this test binary write to a database until it is killed.
const killedEnv = "INVENTORY_TEST_VICTIM"

func listUntilKilled(path string) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: path})
	if err == nil {
		// one process stages, the next does not
		err = inventorytest.ListUntilKilled(ctx, inventory.New(s, inventory.Options{MaxBuffered: 1 + os.Getpid()%2<<20}))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process that is killed at any moment leaves only whole targets, and the next process continues.
func TestKillLeavesWholeTargets(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "collector.db")
	staged := 0
	for kill := range 10 {
		cmd := osexec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + rand.IntN(5) {
			lines.Scan()
		}
		time.Sleep(rand.N(40 * time.Millisecond)) // the test needs a random moment
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed

		r, err := OpenReader(t.Context(), path) // before anything has cleaned up
		if err != nil {
			t.Fatal(err)
		}
		staged += min(1, count(t, r.db, "SELECT count(*) FROM staged"))
		inventorytest.RequireWholeTargets(t, r, kill)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		inventorytest.RequireWholeTargets(t, s.Reader, kill)
		checkConsistent(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 10 were killed with rows staged", staged)
}
