package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/runner/local"
	"github.com/aws-collector/collector/runner/runlog"
	"github.com/aws-collector/collector/web"
)

// testOrganization is an organization and a program that collects it, on a synctest clock.
type testOrganization struct {
	t     *testing.T
	cloud *awsfake.AWS
	of    *awsfake.Organization
	home  *awsfake.Account
	key   awsfake.Key
	prod  string // a unit
	dir   string
	load  auth.LoadOptions
	now   bool // the daemon runs with --now

	accounts       map[string]*awsfake.Account
	stdout, stderr safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newCompany has three members: the management account, 222222222222 with the role, 333333333333 without.
func newCompany(t *testing.T, dir string) *testOrganization {
	c := &testOrganization{
		t:        t,
		dir:      dir,
		accounts: map[string]*awsfake.Account{},
		cloud:    awsfake.New(awsfake.Options{Latency: 10 * time.Millisecond}),
	}
	c.home = c.cloud.AddAccount("111111111111", "aws")
	c.home.AddInstances("us-east-1", 1)
	c.key = c.home.AddUser("collector").NewKey()
	c.of = c.home.NewOrganization("management")
	c.prod = c.of.AddUnit("", "Prod")
	c.addMember("222222222222", awsfake.Member{Name: "shop", Unit: c.prod, Tags: map[string]string{"env": "prod"}})
	c.of.Join(c.cloud.AddAccount("333333333333", "aws"), awsfake.Member{Name: "bare", Unit: c.prod})
	server := c.cloud.InMemory()
	t.Cleanup(server.Close)
	c.load = auth.LoadOptions{Isolated: true, Endpoint: server.URL, DialContext: server.DialContext}
	return c
}

// addMember adds an account with an instance and the role.
func (c *testOrganization) addMember(id string, m awsfake.Member) *awsfake.Account {
	a := c.cloud.AddAccount(id, "aws")
	a.AddInstances("us-east-1", 1)
	a.AddRole("reader", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{c.home.ID}}}})
	c.of.Join(a, m)
	c.accounts[id] = a
	return a
}

func (c *testOrganization) account(id string) *awsfake.Account { return c.accounts[id] }

// write writes the configuration: block is added to the organization's block, more follows it.
func (c *testOrganization) write(block, more string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, "config.yaml")
	text := fmt.Sprintf(`
data_dir: %[1]s/data
jitter: 0s
collector_configs: {regions: [us-east-1]}
organizations:
  - via: {ak_id: %[2]s, ak_secret: "%[3]s"}
    role: reader
    extra_tags: {account_name: "{{.Name}}", env: "{{.Tags.env}}"}
%[4]s
outputs: [{type: file, path: %[1]s/records.jsonl}]
web: {listen: "127.0.0.1:0"}
%[5]s`, c.dir, c.key.ID, c.key.Secret, block, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *testOrganization) cli(path string) *cli {
	return newCLI(path, &c.stdout, &c.stderr)
}

// once runs the program with --once and returns its exit code.
func (c *testOrganization) once(path string, edit ...func(*runOptions)) int {
	c.t.Helper()
	o := runOptions{once: true, flushTimeout: time.Minute, aws: c.load}
	for _, f := range edit {
		f(&o)
	}
	return exitCode(c.cli(path).collect(c.t.Context(), o), &c.stderr)
}

// records returns the number of written records by account, and removes them.
func (c *testOrganization) records() map[string]int {
	c.t.Helper()
	path := filepath.Join(c.dir, "records.jsonl")
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	_ = os.Truncate(path, 0)
	n := map[string]int{}
	for line := range strings.Lines(string(b)) {
		var r struct{ Account string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			c.t.Fatal(err)
		}
		n[r.Account]++
	}
	return n
}

func (c *testOrganization) wantRecords(want map[string]int) {
	c.t.Helper()
	if got := c.records(); !maps.Equal(got, want) {
		c.t.Errorf("records %v, want %v\n%s", got, want, c.stderr.String())
	}
}

// listCalls is the number of calls that list members.
func (c *testOrganization) listCalls() int {
	return len(c.cloud.Calls(func(call *awsfake.Call) bool { return call.Action == "ListAccounts" && call.Code == "" }))
}

// liveResources returns the accounts with current resources, according to `collector list`.
func (c *testOrganization) liveResources(path string) string {
	c.t.Helper()
	var out bytes.Buffer
	i := c.cli(path)
	args := []string{"--config", path, "list", "instance", "-o", "jsonl"}
	if err := run(c.t.Context(), args, i.getenv, &out, &c.stderr); err != nil {
		c.t.Fatal(err)
	}
	ids := regexp.MustCompile(`"account_id":"(\d)`).FindAllStringSubmatch(out.String(), -1)
	var all []string
	for _, m := range ids {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "")
}

// run --once lists the members and collects them: the asking account itself, and others with the role. A member without
// the role is a failed account. A suspended member is not collected.
func TestOrganizationOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t, dir)
		c.addMember("444444444444", awsfake.Member{Name: "closed", State: "SUSPENDED"})
		path := c.write("", "")
		if code := c.once(path); code != exitPartial {
			t.Errorf("exit %d", code)
		}
		c.wantRecords(map[string]int{"111111111111": 1, "222222222222": 1})
		for _, say := range []string{
			"333333333333: auth_failed (assume_denied)", `state=SUSPENDED`, "444444444444 (closed) is SUSPENDED",
			"organization:key",
		} {
			if !strings.Contains(c.stderr.String(), say) {
				t.Errorf("no %q in\n%s", say, c.stderr.String())
			}
		}
		// The organization is not an account: it has no warning about regions, and no row in the summary if it succeeded.
		for _, not := range []string{
			"regions not readable", "│ organization:key", "| organization:key", "\norganization:key ",
		} {
			if strings.Contains(c.stderr.String(), not) {
				t.Errorf("%q in\n%s", not, c.stderr.String())
			}
		}
		if n := strings.Count(c.stderr.String(), "state=SUSPENDED"); n != 1 {
			t.Errorf("%d warnings about the suspended member", n)
		}
		if got := c.listCalls(); got != 1 {
			t.Errorf("listed %d times", got)
		}
		if code := c.once(path, func(o *runOptions) { o.only.Accounts = []string{"2*"} }); code != exitDone {
			t.Errorf("--account '2*': exit %d\n%s", code, c.stderr.String())
		}
		c.wantRecords(map[string]int{"222222222222": 1})
		if n := strings.Count(c.stderr.String(), "state=SUSPENDED"); n != 2 {
			t.Errorf("a new process logs %d warnings about the suspended member, want one", n-1)
		}
		path = c.write("    exclude: {accounts: ['333333333333']}\n    name: '{{.Name}}'", "")
		if code := c.once(path); code != exitDone {
			t.Errorf("exit %d\n%s", code, c.stderr.String())
		}
		c.wantRecords(map[string]int{"management": 1, "shop": 1})
	})
}

// AWS Organizations does not answer. Without a list, only the organization fails. With a list, also of an earlier
// process, its members are collected. Neither this nor a suspension retires an account; only a complete list does.
func TestOrganizationOutage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t, dir)
		other := c.cloud.AddAccount("999999999999", "aws")
		other.AddInstances("us-east-1", 1)
		k := other.AddUser("u").NewKey()
		path := c.write(
			"    exclude: {accounts: ['333333333333']}",
			fmt.Sprintf("accounts: [{name: other, ak_id: %s, ak_secret: %q}]\n", k.ID, k.Secret),
		)

		down := c.cloud.Inject(awsfake.Fault{Kind: awsfake.Unavailable, Service: "organizations"})
		if code := c.once(path); code != exitPartial {
			t.Errorf("exit %d", code)
		}
		c.wantRecords(map[string]int{"other": 1})
		if text := c.stderr.String(); !strings.Contains(text, "organization:key: auth_failed") {
			t.Errorf("the organization is not in the summary:\n%s", text)
		}
		down()
		if code := c.once(path); code != exitDone {
			t.Errorf("exit %d\n%s", code, c.stderr.String())
		}
		all := map[string]int{"other": 1, "111111111111": 1, "222222222222": 1}
		c.wantRecords(all)

		down = c.cloud.Inject(awsfake.Fault{Kind: awsfake.Unavailable, Service: "organizations"})
		c.of.Leave("222222222222")
		if code := c.once(path); code != exitPartial {
			t.Errorf("exit %d", code)
		}
		c.wantRecords(all)
		if got := c.liveResources(path); got != "129" {
			t.Errorf("live %s", got)
		}
		down()
		// It is a member again, but suspended: it is not collected, and its resources stay.
		shop := awsfake.Member{Name: "shop", Unit: c.prod, State: "PENDING_CLOSURE"}
		c.of.Join(c.account("222222222222"), shop)
		if code := c.once(path); code != exitDone {
			t.Errorf("exit %d\n%s", code, c.stderr.String())
		}
		c.wantRecords(map[string]int{"other": 1, "111111111111": 1})
		if got := c.liveResources(path); got != "129" {
			t.Errorf("a suspended member was retired: live %s", got)
		}
		c.of.Leave("222222222222")
		if code := c.once(path); code != exitDone {
			t.Errorf("exit %d\n%s", code, c.stderr.String())
		}
		if got := c.liveResources(path); got != "19" {
			t.Errorf("a member that is gone was not retired: live %s", got)
		}
	})
}

// startDaemon runs the program without what would stop the synctest clock: the listener, and the file watcher.
func (c *testOrganization) startDaemon(path string) (stop func()) {
	c.t.Helper()
	i := c.cli(path)
	cfg, err := i.loadConfig(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	log, err := i.logger(&c.stderr)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	if err := datadir.Make(cfg.File.DataDir); err != nil {
		c.t.Fatal(err)
	}
	p := &program{cli: i, opt: runOptions{flushTimeout: time.Minute, now: c.now}, log: log}
	if p.aws, err = i.openAWS(ctx, cfg, account.AWSOptions{Load: c.load, Log: log}); err != nil {
		c.t.Fatal(err)
	}
	p.members = accounts.NewDirectory(p.aws.Sessions.Members, accounts.MembersPath(cfg.File.DataDir), log)
	s, err := store.Open(ctx, cfg.File, nil, log)
	if err != nil {
		c.t.Fatal(err)
	}
	board := board.New()
	p.metrics, err = web.NewMetrics(prometheus.NewRegistry(), board, web.MetricsOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	p.store = s
	p.retirer, p.mounts = accounts.NewRetirer(s.Accounts(), log), new(web.Mounts)
	p.unknownFields = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "unknown"}, []string{"kind"})
	p.observe = runner.Tee(board.Observe, p.metrics.Observe, runlog.New(log, nil).Observe, p.retirer.Observe)
	p.outputs = deliver.NewSet(
		all.Types,
		outputs.Deps{Stdout: &c.stdout, Log: log, Observer: p.metrics, Store: s.Driver, AWS: p.aws.Sessions.ConfigFor},
	)
	p.claims = accounts.NewClaims(func(account string, cause error) { p.runner.Cancel(account, cause) })
	p.runner = runner.New(
		runner.Options{
			Claim:   p.claims.Claim,
			Store:   s,
			Observe: p.observe,
			Limits:  runner.NewLimits(256, p.observe),
			Log:     log,
		},
	)
	if err := p.apply(ctx, cfg); err != nil {
		c.t.Fatal(err)
	}
	engine := local.New(p.runner, local.Options{AtStart: c.now, Log: log})
	var over sync.WaitGroup
	stopRetiring := p.retirer.Start(ctx)
	over.Go(func() {
		if err := engine.Run(ctx); err != nil {
			c.t.Error(err)
		}
	})
	return func() {
		cancel()
		over.Wait()
		stopRetiring()
		if err := p.closeOutputs(); err != nil {
			c.t.Error(err)
		}
		p.members.Close()
		p.aws.Sessions.Close()
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// A daemon lists the members a minute before each run. The next run collects new members, and no longer those that
// left. A failed list changes nothing.
func TestOrganizationDaemon(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t, dir)
		path := c.write("    exclude: {accounts: ['333333333333']}", "")
		defer c.startDaemon(path)()
		tick := func(want map[string]int) {
			t.Helper()
			time.Sleep(time.Until(time.Now().Truncate(15 * time.Minute).Add(15*time.Minute + 30*time.Second)))
			synctest.Wait()
			c.wantRecords(want)
		}
		tick(map[string]int{"111111111111": 1, "222222222222": 1})
		before := c.listCalls()
		time.Sleep(13 * time.Minute) // ninety seconds before the next run
		c.addMember("555555555555", awsfake.Member{Name: "new"})
		tick(map[string]int{"111111111111": 1, "222222222222": 1, "555555555555": 1})
		if got := c.listCalls() - before; got != 1 {
			t.Errorf("%d lists per run", got)
		}
		time.Sleep(5 * time.Minute)
		down := c.cloud.Inject(awsfake.Fault{Kind: awsfake.Throttling, Service: "organizations"})
		c.of.Leave("222222222222")
		tick(map[string]int{"111111111111": 1, "222222222222": 1, "555555555555": 1})
		down()
		tick(map[string]int{"111111111111": 1, "555555555555": 1})
		if got := c.liveResources(path); got != "15" {
			t.Errorf("live %s", got)
		}
		changed := "organization members changed\" accounts=3 organizations=1"
		if output := c.stderr.String(); !strings.Contains(output, changed) {
			t.Errorf("the organization is counted as an account:\n%.2000s", output)
		}
	})
}

// With @every there is no time before a run to list members. A new member is collected as soon as it is listed, then
// every interval.
func TestOrganizationEvery(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t, dir)
		path := c.write("    exclude: {accounts: ['333333333333']}", "schedule: '@every 15m'\n")
		defer c.startDaemon(path)()
		time.Sleep(15*time.Minute + 30*time.Second)
		synctest.Wait()
		c.wantRecords(map[string]int{"111111111111": 1, "222222222222": 1})
		c.addMember("555555555555", awsfake.Member{Name: "new"})
		for range 3 {
			time.Sleep(15 * time.Minute)
			synctest.Wait()
			c.wantRecords(map[string]int{"111111111111": 1, "222222222222": 1, "555555555555": 1})
		}
	})
}

// With --now, members whose list takes longer than the start waits are collected when it arrives, not a day later.
func TestOrganizationListedSlowlyAtStart(t *testing.T) {
	for _, now := range []bool{true, false} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			c := newCompany(t, dir)
			c.now = now
			path := c.write("    exclude: {accounts: ['333333333333']}", "schedule: '@daily'\n")
			mend := c.cloud.Inject(awsfake.Fault{Kind: awsfake.Hang, Service: "organizations"})
			defer c.startDaemon(path)()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			c.wantRecords(map[string]int{})
			mend()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if want := map[string]int{"111111111111": 1, "222222222222": 1}; now {
				c.wantRecords(want)
			} else {
				c.wantRecords(map[string]int{})
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				c.wantRecords(want)
			}
		})
	}
}

// A member that also has a block in the file is collected as that block says. Here the block names its account id.
func TestOrganizationMemberWithOwnBlock(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t, dir)
		own := c.account("222222222222").AddUser("own").NewKey()
		path := c.write(
			"    exclude: {accounts: ['333333333333']}",
			fmt.Sprintf("accounts: [{name: mine, ak_id: %s, ak_secret: %q, account_id: '222222222222'}]\n", own.ID, own.Secret),
		)
		if code := c.once(path); code != exitDone {
			t.Errorf("exit %d\n%s", code, c.stderr.String())
		}
		c.wantRecords(map[string]int{"111111111111": 1, "mine": 1})
		if !strings.Contains(c.stderr.String(), `member 222222222222 also has the account block \"mine\"`) {
			t.Errorf("no warning:\n%s", c.stderr.String())
		}
	})
}

// The same, if only signing in shows the account: from the next list on, the member is left to the block.
func TestOrganizationMemberFoundBehindBlock(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t, dir)
		own := c.account("222222222222").AddUser("own").NewKey()
		path := c.write(
			"    exclude: {accounts: ['333333333333']}",
			fmt.Sprintf("accounts: [{name: mine, ak_id: %s, ak_secret: %q}]\n", own.ID, own.Secret),
		)
		defer c.startDaemon(path)()
		for range 2 {
			time.Sleep(time.Until(time.Now().Truncate(15 * time.Minute).Add(15*time.Minute + 30*time.Second)))
			synctest.Wait()
			c.wantRecords(map[string]int{"111111111111": 1, "mine": 1})
		}
		if n := strings.Count(c.stderr.String(), "same_account"); n != 1 {
			t.Errorf("the member failed %d times:\n%s", n, c.stderr.String())
		}
	})
}

// check has a row for the organization and one for each member; policy prints what it needs.
func TestOrganizationCheck(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cloud := newCompany(t, dir)
		cloud.addMember("444444444444", awsfake.Member{Name: "closed", State: "SUSPENDED"})
		text := fmt.Sprintf(
			"collector_configs: {regions: [us-east-1]}\norganizations:\n  - {via: {ak_id: %s, ak_secret: %q}, role: reader}\n",
			cloud.key.ID, cloud.key.Secret,
		)
		check := func(format string) (out string, code int) {
			dir, path := t.TempDir(), filepath.Join(t.TempDir(), "check.yaml")
			write(t, path, "data_dir: "+dir+"\n"+text)
			var stdout bytes.Buffer
			err := newCLI(path, &stdout, &cloud.stderr).
				check(t.Context(), checkOptions{format: format, timeout: time.Minute, aws: cloud.load})
			return stdout.String(), exitCode(err, &cloud.stderr)
		}
		type checked struct {
			Account, Status, Reason, Hint string
			Warnings                      []string
		}
		checkAll := func() (found map[string]checked, code int) {
			out, code := check("json")
			var rows []checked
			if err := json.Unmarshal([]byte(out), &rows); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			found = map[string]checked{}
			for _, a := range rows {
				found[a.Account] = a
			}
			return found, code
		}
		found, code := checkAll()
		if code != exitPartial || len(found) != 4 {
			t.Errorf("exit %d: %+v", code, found)
		}
		for name, status := range map[string]string{
			"organization:key": "success", "111111111111": "success", "222222222222": "success", "333333333333": "failed",
		} {
			if found[name].Status != status {
				t.Errorf("%s: %+v, want %s", name, found[name], status)
			}
		}
		if w := found["organization:key"].Warnings; len(w) != 1 ||
			!strings.Contains(w[0], "444444444444 (closed) is SUSPENDED") {
			t.Errorf("warnings %q", w)
		}
		row := regexp.MustCompile(`organization:key +success +111111111111 +aws +- +- `)
		if out, _ := check("table"); !row.MatchString(out) {
			t.Errorf("an organization has regions or kinds:\n%s", out)
		}
		cloud.home.Deny(awsfake.Denial{Action: "organizations:*"})
		found, code = checkAll()
		if got := found["organization:key"]; code != exitFailed || got.Reason != "access_denied" ||
			!strings.Contains(got.Hint, "policy organization") {
			t.Errorf("exit %d: %+v", code, got)
		}
	})
}
