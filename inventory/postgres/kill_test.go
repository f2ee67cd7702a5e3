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

// These environment variables make this test binary write to a database until it is killed.
const (
	killedDSNEnv    = "INVENTORY_TEST_VICTIM_DSN"
	killedSchemaEnv = "INVENTORY_TEST_VICTIM_SCHEMA"
	killedSharedEnv = "INVENTORY_TEST_VICTIM_SHARED" // set: with others
)

func listUntilKilled(dsn string) {
	ctx := context.Background()
	s, err := Open(ctx, Options{
		DSN: dsn, Schema: os.Getenv(killedSchemaEnv), Shared: os.Getenv(killedSharedEnv) != "",
	})
	if err == nil {
		// one process stages, the next does not
		err = inventorytest.ListUntilKilled(ctx, inventory.New(s, inventory.Options{MaxBuffered: 1 + os.Getpid()%2<<20}))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// killWriter starts a process that writes, and kills it at a random moment.
func killWriter(t *testing.T, o Options) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), killedDSNEnv+"="+o.DSN, killedSchemaEnv+"="+o.Schema)
	if o.Shared {
		cmd.Env = append(cmd.Env, killedSharedEnv+"=1")
	}
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
}

// A process that is killed at any moment leaves only whole targets, and the next process continues.
func TestKillLeavesWholeTargets(t *testing.T) {
	o := newSchema(t)
	conn := adminConn(t, o)
	staged := 0
	for kill := range 10 {
		killWriter(t, o)
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

// A process that is killed among others leaves only whole targets, the others go on meanwhile, and what it had staged
// goes when its targets are begun again.
func TestKillAmongOthers(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	s := openStore(t, o)
	inv := inventory.New(s, inventory.Options{})
	for kill := range 4 {
		killWriter(t, o)
		inventorytest.RequireWholeTargets(t, s, kill)
	}
	_, identity := inventorytest.Target()
	for n := range 3 {
		eventually(t, "the server has noticed the kill", func() bool { // a killed process's statement may hold the row
			_, err := inv.Begin(t.Context(), regionTarget(fmt.Sprint("us-east-", n)), identity, "next")
			return err == nil
		})
	}
	conn := adminConn(t, o)
	if n := count(t, conn, "SELECT count(*) FROM staged"); n > 0 {
		t.Errorf("%d rows are staged still", n)
	}
	checkConsistent(t, s.Reader)
}
