package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// lockEnv names the environment variable that makes this test binary hold the write lock of a database until its
// standard input ends.
const lockEnv = "INVENTORY_TEST_HOLDER"

func holdWriteLock(path string) {
	db, err := connect(path, "rw")
	if err == nil {
		_, err = db.ExecContext(context.Background(), "BEGIN IMMEDIATE")
	}
	fmt.Println("held", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// startLockHolder starts a process that holds the write lock. It returns the process id and a func that ends the
// process.
func startLockHolder(t *testing.T, path string) (pid int, release func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), lockEnv+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held <nil>\n" {
		t.Fatal(line, err)
	}
	release = sync.OnceFunc(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(release)
	return cmd.Process.Pid, release
}

func lockedInventory(t *testing.T, path string, log io.Writer) (*Store, *inventory.Inventory) {
	t.Helper()
	l := slog.New(slog.NewTextHandler(log, nil))
	s, err := Open(t.Context(), Options{Path: path, Log: l, LockTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	inv := inventory.New(s, inventory.Options{Log: l, MaxBuffered: 1, StallTimeout: time.Second})
	t.Cleanup(func() {
		if err := inv.Driver().Close(); err != nil {
			t.Error(err)
		}
	})
	return s, inv
}

// While another process holds the write lock, waiting writes fail together and later ones fail at once. The error names
// the holder and the remedy, and reads work. When the lock is released, the store recovers.
func TestWriteLockHeld(t *testing.T) {
	path := mkdir(t, oddPath(t))
	var log bytes.Buffer
	_, inv := lockedInventory(t, path, &log)
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	target, identity := inventorytest.Target()
	v, err := inv.Begin(t.Context(), target, identity, "two")
	if err != nil {
		t.Fatal(err)
	}
	pid, release := startLockHolder(t, path)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() { // each has a new target of its own
			target := record.Target{Account: "prod", Region: fmt.Sprint("r-", n), Kind: "ec2_instance"}
			if _, err := inv.Begin(t.Context(), target, identity, "two"); err == nil || record.HintOf(err) == "" {
				t.Errorf("it wrote through a lock: %v", err)
			}
		})
	}
	wg.Wait()
	if err := v.Page(
		t.Context(),
		inventorytest.Page(target, identity, "two", inventorytest.Item{ID: "i-2", Pad: strings.Repeat("x", 300_000)}),
	); err == nil {
		t.Error("it staged through a lock")
	}
	err = inv.Err()
	if err == nil ||
		runtime.GOOS == "linux" && !strings.Contains(err.Error()+record.HintOf(err), fmt.Sprintf("process %d", pid)) {
		t.Errorf("it says %v (hint %q)", err, record.HintOf(err))
	}
	if got := inventorytest.IDs(t, inv.Driver(), inventory.Query{}); got != "i-1" {
		t.Errorf("meanwhile there is %q", got)
	}
	release()
	eventually(t, "the store recovers", func() bool { return inv.Err() == nil })
	if err := inventorytest.List(t, inv, "three", inventorytest.Item{ID: "i-3"}); err != nil {
		t.Fatal(err)
	}
	if got := inventorytest.IDs(t, inv.Driver(), inventory.Query{}); got != "i-3" {
		t.Errorf("then there is %q", got)
	}
	if logged := log.String(); strings.Count(logged, "store writes fail") != 1 ||
		strings.Count(logged, "store writes recovered") != 1 {
		t.Error(logged)
	}
}

// The program starts although the database is locked. The rows that a dead process staged are dropped with the first
// write.
func TestWriteLockHeldAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	first := openAt(t, path)
	inv := inventory.New(first, inventory.Options{MaxBuffered: 1})
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	target, identity := inventorytest.Target()
	v, err := inv.Begin(t.Context(), target, identity, "two") // never ends
	if err == nil {
		err = v.Page(
			t.Context(),
			inventorytest.Page(target, identity, "two", inventorytest.Item{ID: "i-2", Pad: strings.Repeat("x", 300_000)}),
		)
	}
	if err != nil || count(t, first.db, "SELECT count(*) FROM staged") != 1 {
		t.Fatal("nothing is staged", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_, release := startLockHolder(t, path)
	var log bytes.Buffer
	s, inv := lockedInventory(t, path, &log)
	if err := inventorytest.List(t, inv, "three", inventorytest.Item{ID: "i-3"}); err == nil {
		t.Error("it wrote through a lock")
	}
	release()
	eventually(t, "the store recovers", func() bool { return inv.Err() == nil })
	if err := inventorytest.List(t, inv, "four", inventorytest.Item{ID: "i-4"}); err != nil {
		t.Fatal(err)
	}
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-4" ||
		count(t, s.db, "SELECT count(*) FROM staged") != 0 {
		t.Errorf("then there is %q", got)
	}
	checkConsistent(t, s)
}

// A write is not cut off for its duration: only the wait for the lock is bounded.
func TestLargeWriteIsNotCutOff(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "collector.db"), LockTimeout: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inv := inventory.New(s, inventory.Options{MaxBuffered: 1, StallTimeout: time.Nanosecond})
	var items []inventorytest.Item
	for n := range 2000 {
		items = append(items, inventorytest.Item{ID: fmt.Sprintf("i-%05d", n), Pad: strings.Repeat("x", 500)})
	}
	if err := inventorytest.List(t, inv, "one", items...); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: not within 12 s", what)
}
