package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// committerEnv makes this test binary one process of BenchmarkCommits: the resources that change in each listing, and
// the name of the process. The database is that of a process that is killed.
const committerEnv = "INVENTORY_TEST_COMMITTER"

const (
	committerWriters = 8
	committerTargets = 10 // of each writer
	committerItems   = 5
	committerTime    = 5 * time.Second
)

// oneRow is how commits took instants until version 5 of the tables: a row that each locks until it is on the disk.
const oneRow = `CREATE OR REPLACE FUNCTION take_instant(tag bigint, after bigint) RETURNS bigint LANGUAGE sql AS $$
	UPDATE clock SET last = greatest(last + 1, server_time()) RETURNING last $$`

// BenchmarkCommits measures the commits of small targets by several processes that share a schema, with fsync: those of
// today, and those that lock one row. CPU of the collectors and of the server is of both cores together. Run it with
// -benchtime 1x: each case takes some seconds by itself.
func BenchmarkCommits(b *testing.B) {
	server := startForBenchmark(b)
	for _, changed := range []int{3, 0} {
		for _, processes := range []int{1, 2, 4} {
			for _, protocol := range []string{"one row", "locks"} {
				b.Run(fmt.Sprintf("changed=%d/processes=%d/%s", changed, processes, protocol), func(b *testing.B) {
					o := Options{DSN: server.DSN(), Schema: fmt.Sprintf("commits_%d", schemas.Add(1)), Shared: true}
					s, err := Open(b.Context(), o)
					if err != nil {
						b.Fatal(err)
					}
					defer s.Close()
					conn := adminConn(b, o)
					if protocol == "one row" {
						exec(b, conn, oneRow)
					}
					for b.Loop() {
						measureCommits(b, conn, o, processes, changed)
					}
				})
			}
		}
	}
}

func measureCommits(b *testing.B, conn *pgx.Conn, o Options, processes, changed int) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmds := make([]*osexec.Cmd, processes)
	outs := make([]*bufio.Reader, processes)
	ins := make([]io.WriteCloser, processes)
	for i := range cmds {
		cmd := osexec.CommandContext(b.Context(), exe)
		cmd.Env = append(os.Environ(), killedDSNEnv+"="+o.DSN, killedSchemaEnv+"="+o.Schema,
			fmt.Sprintf("%s=%d p%d", committerEnv, changed, i))
		cmd.Stderr = os.Stderr
		out, errOut := cmd.StdoutPipe()
		in, errIn := cmd.StdinPipe()
		if err := errors.Join(errOut, errIn, cmd.Start()); err != nil {
			b.Fatal(err)
		}
		cmds[i], outs[i], ins[i] = cmd, bufio.NewReader(out), in
	}
	hear := func() (numbers []float64) { // what each child says
		for _, out := range outs {
			said, err := out.ReadString('\n')
			n, errParse := strconv.ParseFloat(strings.TrimSpace(said), 64)
			if err := errors.Join(err, errParse); err != nil {
				b.Fatal(err)
			}
			numbers = append(numbers, n)
		}
		return numbers
	}
	say := func(line string) {
		for _, in := range ins {
			if _, err := io.WriteString(in, line); err != nil {
				b.Fatal(err)
			}
		}
	}
	hear()                  // each has listed its targets once
	time.Sleep(time.Second) // the backends of the case before have ended
	before := serverCPU(b, conn)
	say("begin\n")
	var commits, cpu float64
	for _, n := range hear() {
		commits += n
	}
	after := serverCPU(b, conn)
	say("end\n")
	for _, n := range hear() {
		cpu += n
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(commits/committerTime.Seconds(), "commits/s")
	b.ReportMetric(cpu/commits*1000, "collector-ms/commit")
	if before > 0 {
		b.ReportMetric((after-before)/commits*1000, "server-ms/commit")
	}
}

// commitForBenchmark lists targets again and again for some seconds. It prints 0 when it could begin, the number of its
// commits, and the CPU of them in seconds.
func commitForBenchmark(dsn string) error {
	ctx := context.Background()
	var changed int
	var name string
	if _, err := fmt.Sscan(os.Getenv(committerEnv), &changed, &name); err != nil {
		return err
	}
	s, err := Open(ctx, Options{DSN: dsn, Schema: os.Getenv(killedSchemaEnv), Shared: true})
	if err != nil {
		return err
	}
	inv := inventory.New(s, inventory.Options{})
	stdin := bufio.NewReader(os.Stdin)
	failed := make(chan error, committerWriters)
	each := func(f func(writer int) error) {
		var wg sync.WaitGroup
		for writer := range committerWriters {
			wg.Go(func() {
				if err := f(writer); err != nil {
					failed <- err
				}
			})
		}
		wg.Wait()
	}
	each(func(writer int) error {
		for n := range committerTargets {
			if err := commitOnce(ctx, inv, fmt.Sprintf("%s-%d-%d", name, writer, n), 0, committerItems); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println(0)
	if _, err := stdin.ReadString('\n'); err != nil {
		return err
	}
	var commits atomic.Int64
	cpu := inventorytest.OwnCPU()
	end := time.Now().Add(committerTime)
	each(func(writer int) error {
		for round := 1; time.Now().Before(end); round++ {
			region := fmt.Sprintf("%s-%d-%d", name, writer, round%committerTargets)
			if err := commitOnce(ctx, inv, region, round, changed); err != nil {
				return err
			}
			commits.Add(1)
		}
		return nil
	})
	cpu = inventorytest.OwnCPU() - cpu
	fmt.Println(commits.Load())
	if _, err := stdin.ReadString('\n'); err != nil {
		return err
	}
	fmt.Println(cpu.Seconds())
	select {
	case err := <-failed:
		return err
	default:
		return s.Close()
	}
}

// commitOnce lists a target of which some resources have changed.
func commitOnce(ctx context.Context, inv *inventory.Inventory, region string, round, changed int) error {
	_, identity := inventorytest.Target()
	target := regionTarget(region)
	run := fmt.Sprint("run-", round)
	items := make([]inventorytest.Item, committerItems)
	for i := range items {
		items[i] = inventorytest.Item{ID: fmt.Sprint("i-", i), State: "running", Pad: strings.Repeat("x", 1000)}
		if i < changed {
			items[i].State = run
		}
	}
	v, err := inv.Begin(ctx, target, identity, run)
	if err == nil {
		err = v.Page(ctx, inventorytest.Page(target, identity, run, items...))
	}
	if err == nil {
		err = v.End(ctx, record.Outcome{Target: target, Run: run, State: record.OK, Started: time.Now()})
	}
	return err
}

// serverCPU returns the CPU seconds that the server's processes have used, or 0 where there is no /proc.
func serverCPU(b *testing.B, conn *pgx.Conn) float64 {
	b.Helper()
	postmaster := ""
	if err := conn.QueryRow(
		b.Context(), `SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)`,
	).Scan(&postmaster); err != nil {
		b.Fatal(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	const perSecond = 100 // of Linux on every architecture
	ticks := 0.0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // after the name: state, parent, …
		f := strings.Fields(rest)
		if len(f) < 15 {
			continue
		}
		own := filepath.Base(filepath.Dir(file)) == postmaster
		for i := 11; i < 15; i++ { // utime, stime, and those of children that have ended
			if own || f[1] == postmaster && i < 13 {
				n, _ := strconv.ParseFloat(f[i], 64) // of the kernel
				ticks += n
			}
		}
	}
	return ticks / perSecond
}
