package postgres

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// killedDSNEnv and killedSchemaEnv name the environment variables that make this test binary write to a database until
// it is killed.
const killedDSNEnv, killedSchemaEnv = "INVENTORY_TEST_VICTIM_DSN", "INVENTORY_TEST_VICTIM_SCHEMA"

func listUntilKilled(dsn string) {
	ctx := context.Background()
	s, err := Open(ctx, Options{DSN: dsn, Schema: os.Getenv(killedSchemaEnv)})
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
	o := newSchema(t)
	conn := adminConn(t, o)
	staged := 0
	for kill := range 10 {
		cmd := osexec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), killedDSNEnv+"="+o.DSN, killedSchemaEnv+"="+o.Schema)
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

		r, err := OpenReader(t.Context(), o) // before anything has cleaned up
		if err != nil {
			t.Fatal(err)
		}
		staged += min(1, count(t, conn, "SELECT count(*) FROM staged"))
		inventorytest.RequireWholeTargets(t, r, kill)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), o) // it waits until the server has noticed the kill
		if err != nil {
			t.Fatal(err)
		}
		inventorytest.RequireWholeTargets(t, s.Reader, kill)
		checkConsistent(t, s.Reader)
		if n := count(t, conn, "SELECT count(*) FROM staged"); n > 0 {
			t.Errorf("kill %d: %d rows are staged still", kill, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 10 were killed with rows staged", staged)
}
