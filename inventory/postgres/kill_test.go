package postgres

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// victimDSN is the variable that makes this test's binary a process that writes to a database until it is killed; victimSchema
// names where.
const victimDSN, victimSchema = "INVENTORY_TEST_VICTIM_DSN", "INVENTORY_TEST_VICTIM_SCHEMA"

const victimItems = 400 // of a target; with their size several stagings

// victim lists three targets over and over. In a round every resource of a target has the round's number as its state, and
// in odd rounds half of them are not there.
func victim(dsn string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	s, err := Open(ctx, Options{DSN: dsn, Schema: os.Getenv(victimSchema)})
	fail(err)
	inv := inventory.New(s, inventory.Options{Hold: 1 + os.Getpid()%2<<20}) // one victim stages, the next does not
	_, who := inventorytest.Target()
	for round := int(time.Now().UnixMilli() % 1e9); ; round++ {
		for n := range 3 {
			target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
			v, err := inv.Begin(ctx, target, who, "run")
			fail(err)
			var items []inventorytest.Item
			for i := range victimItems {
				if round%2 == 0 || i%2 == 0 {
					items = append(items, inventorytest.Item{ID: fmt.Sprintf("i-%d", i), State: fmt.Sprint(round), Pad: strings.Repeat("x", 1500)})
				}
			}
			for len(items) > 0 {
				n := min(100, len(items))
				fail(v.Page(ctx, inventorytest.Page(target, who, "run", items[:n]...)))
				items = items[n:]
			}
			fail(v.End(ctx, record.Outcome{Target: target, Run: "run", State: record.OK, Started: time.Now()}))
			fmt.Println(round)
		}
	}
}

// Killed at any moment, a process leaves whole targets only, and the next one goes on.
func TestKillLeavesWholeTargets(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := fresh(t)
	conn := admin(t, o)
	staged := 0
	for kill := range 10 {
		cmd := osexec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), victimDSN+"="+o.DSN, victimSchema+"="+o.Schema)
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
		time.Sleep(rand.N(40 * time.Millisecond)) // the random moment is the test's matter
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed

		r, err := OpenReader(t.Context(), o) // also before anyone has cleaned up
		if err != nil {
			t.Fatal(err)
		}
		staged += min(1, count(t, conn, "SELECT count(*) FROM staged"))
		wholeTargets(t, r, kill)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), o) // it waits until the server has noticed
		if err != nil {
			t.Fatal(err)
		}
		wholeTargets(t, s.Reader, kill)
		sound(t, s.Reader)
		if n := count(t, conn, "SELECT count(*) FROM staged"); n > 0 {
			t.Errorf("kill %d: %d rows are staged still", kill, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 10 were killed with rows staged", staged)
}

func wholeTargets(t *testing.T, r *Reader, kill int) {
	t.Helper()
	states := map[string]map[string]int{}
	for res, err := range r.Find(t.Context(), inventory.Query{Data: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if states[res.Region] == nil {
			states[res.Region] = map[string]int{}
		}
		states[res.Region][res.State]++
	}
	if len(states) == 0 {
		t.Errorf("kill %d: nothing is there", kill)
	}
	for region, s := range states {
		for state, n := range s {
			if len(s) != 1 || n != victimItems && n != victimItems/2 {
				t.Errorf("kill %d: %s: %d resources of round %s, %v", kill, region, n, state, s)
			}
		}
	}
}
