package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
)

// After a restart the metrics, the page and /-/ready show what the store knows, before the first run. Runs that a kill
// left running are interrupted.
func TestStatusAfterRestart(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	k := scene.Accounts[7].Key // of China: no session in us-east-1
	text := daemonConfig(dir, scene, fmt.Sprintf(
		"  - {name: china, ak_id: %s, ak_secret: %q, collector_configs: {regions: [cn-north-1]}}\n"+
			"  - {name: broken, ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}",
		k.ID, k.Secret,
	))
	write(t, config, text)
	first := startDaemon(t, config, s.URL)
	for _, account := range []string{"prod", "china", "broken"} {
		first.waitUntil("a run of "+account, first.logMatches(`run ended" account=`+account))
	}
	remove := scene.AWS.Inject(awsfake.Fault{Kind: awsfake.Hang, Action: "DescribeInstances"})
	first.waitUntil("a listing that hangs", func() bool { return scene.AWS.Stats().InFlight > 0 })
	first.waitUntil("a run that is stored as running", func() bool {
		return len(storedRuns(t, dir, record.RunRunning)) > 0
	})
	series := regexp.MustCompile(`(?m)^(collector_(?:last_success_timestamp_seconds|targets|resources)\{.*|` +
		`collector_never_succeeded_targets.*|collector_account_info\{.*) (\S+)$`)
	before := series.FindAllStringSubmatch(first.get("/metrics"), -1)
	first.signal(os.Kill)
	first.waitExit()
	remove()

	write(t, config, strings.Replace(text, `"@every 1s"`, `"0 0 1 1 *"`, 1)) // nothing runs now
	second := startDaemonWith(t, config, s.URL, []string{"run"})
	metrics := second.get("/metrics")
	after := map[string]string{}
	for _, m := range series.FindAllStringSubmatch(metrics, -1) {
		after[m[1]] = m[2]
	}
	if len(before) < 8 {
		t.Errorf("only %d series before the restart: %q", len(before), before)
	}
	for _, m := range before {
		a, errA := strconv.ParseFloat(m[2], 64)
		b, errB := strconv.ParseFloat(after[m[1]], 64)
		// A run may have ended between the last scrape and the kill.
		later := strings.Contains(m[1], "timestamp") && b >= a && b-a < 60
		if errA != nil || errB != nil || a != b && !later {
			t.Errorf("%s: %s before the restart, %q after it", m[1], m[2], after[m[1]])
		}
	}
	if !strings.Contains(metrics, `collector_targets{account="broken",region="us-east-1",state="auth_failed"} 1`) {
		t.Errorf("the failed account does not show:\n%s", metrics)
	}
	if got := second.get("/-/ready"); !strings.Contains(got, "ready") {
		t.Errorf("/-/ready: %q", got)
	}
	page := second.get("/")
	for _, want := range []string{scene.Accounts[0].Account.ID, "auth_failed"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
		}
	}
	if len(storedRuns(t, dir, record.RunRunning)) != 0 || len(storedRuns(t, dir, record.RunInterrupted)) == 0 ||
		!second.logMatches(`msg="runs of a killed process interrupted" runs=`)() {
		t.Error("the runs of the killed process were not interrupted")
	}
	if runs := storedRuns(t, dir, record.RunFailed); len(runs) == 0 || runs[0].Account != "broken" ||
		len(runs[0].Causes) != 1 || runs[0].Causes[0].State != record.AuthFailed || runs[0].Causes[0].Hint == "" {
		t.Errorf("%+v", runs)
	}
}

func storedRuns(t *testing.T, dir string, status record.Status) (runs []inventory.Run) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := sqlite.OpenReader(ctx, store.Path(filepath.Join(dir, "data")))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for run, err := range r.Runs(ctx, inventory.RunQuery{Statuses: []record.Status{status}}) {
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run)
	}
	return runs
}
