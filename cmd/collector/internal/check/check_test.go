package check

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// checkedAccount is an account in the output of `check -o json`.
type checkedAccount struct {
	Account, Status, ARN, Error, Hint, Reason string
	AccountID                                 string `json:"account_id"`
	Path                                      []string
	Expires                                   *time.Time
	Clock                                     *float64 `json:"clock_ahead_seconds"`
	Regions                                   []struct{ Region, Status string }
	Tried                                     []struct{ Region, Kind, Action, State, Reason, Error, Hint string }
	Warnings                                  []string
	KeyCreated                                *time.Time `json:"key_created"`
	KeyError                                  string     `json:"key_error"`
	Grant                                     *struct {
		Effect, Resource string
		Action           json.RawMessage
	}
}

func (c checkedAccount) region(name string) string {
	for _, r := range c.Regions {
		if r.Region == name {
			return r.Status
		}
	}
	return ""
}

func (c checkedAccount) kinds(region string) (names []string) {
	for _, t := range c.Tried {
		if t.Region == region {
			names = append(names, t.Kind)
		}
	}
	return names
}

// runCheck checks against a fake AWS in memory, on a synctest clock. text is the configuration after data_dir.
func runCheck(
	t *testing.T, cloud *awsfake.AWS, text string, o options,
) (out string, found map[string]checkedAccount, status record.Status) {
	t.Helper()
	server := cloud.InMemory()
	defer server.Close()
	f, err := config.Parse([]byte("data_dir: "+t.TempDir()+"\n"+text), "config.yaml", configfile.KnownNames())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	aws, err := account.OpenAWS(t.Context(), f, account.AWSOptions{
		Load: auth.LoadOptions{
			Isolated: true, Endpoint: server.URL, DialContext: server.DialContext,
			Getenv: func(string) string { return "" },
		},
		Identities: identity.Options{Checking: true}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := aws.Close(); err != nil {
			t.Error(err)
		}
	}()
	checker := Checker{
		AWS: aws, Selection: account.Selection{Accounts: o.accounts}, CallsInFlight: f.Limits.CallsInFlight,
		AllRegions: o.allRegions, Timeout: cmp.Or(o.timeout, 3*time.Minute), Progress: func() {},
	}
	members := accounts.NewDirectory(nil, accounts.MembersPath(f.DataDir), log)
	blocks, err := checker.Selection.Blocks(aws.AccountSet(f, members))
	if err != nil {
		t.Fatal(err)
	}
	all, err := checker.Accounts(t.Context(), blocks)
	if err != nil {
		t.Fatal(err)
	}
	var table, array bytes.Buffer
	if err := errors.Join(Print(&table, all, "table"), Print(&array, all, "json")); err != nil {
		t.Fatal(err)
	}
	var rows []checkedAccount
	if err := json.Unmarshal(array.Bytes(), &rows); err != nil {
		t.Fatalf("%v: %s", err, array.String())
	}
	found = map[string]checkedAccount{}
	for _, a := range rows {
		found[a.Account] = a
	}
	return table.String(), found, Status(all)
}

type options struct {
	accounts   []string
	allRegions bool
	timeout    time.Duration
}

func block(name string, k awsfake.Key) string {
	return fmt.Sprintf("  - {name: %s, ak_id: %s, ak_secret: %q}\n", name, k.ID, k.Secret)
}

// check prints one statement that grants all missing permissions, including DescribeRegions. It recognizes regions that
// need an opt-in even if AWS does not list them.
func TestCheckPrintsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := awsfake.New(awsfake.Options{})
		a := cloud.AddAccount("111111111111", "aws")
		a.OptIn("af-south-1")
		a.Deny(
			awsfake.Denial{Action: "ec2:DescribeRegions"}, awsfake.Denial{Action: "ec2:DescribeVolumes"},
			awsfake.Denial{Action: "ec2:DescribeVpcs", Region: "us-east-1", SCP: true},
		)
		config := "collector_configs: {regions: ['*'], " +
			"kinds: [ec2_instance, ec2_launch_template_version, ec2_volume, ec2_vpc]}\naccounts:\n" +
			block("prod", a.AddUser("u").NewKey())
		_, found, status := runCheck(t, cloud, config, options{})
		got := found["prod"]
		if status != record.RunPartial || got.Status != "partial" {
			t.Errorf("%s: %+v", status, got)
		}
		if got.Grant == nil || got.Grant.Effect != "Allow" || got.Grant.Resource != "*" ||
			string(compactJSON(got.Grant.Action)) != `["ec2:DescribeRegions","ec2:DescribeVolumes"]` {
			t.Errorf("grant: %+v", got.Grant)
		}
		for region, want := range map[string]string{
			"us-east-1": "enabled", "af-south-1": "enabled", "me-south-1": "not_opted_in",
		} {
			if got.region(region) != want {
				t.Errorf("%s: %q, want %q", region, got.region(region), want)
			}
		}
		want := []string{
			"ec2_instance", "ec2_launch_template", "ec2_launch_template_version", "ec2_volume", "ec2_vpc",
		} // and the parent
		if kinds := got.kinds("us-east-1"); !slices.Equal(kinds, want) {
			t.Errorf("tried %v, want %v", kinds, want)
		}
		if kinds := got.kinds("eu-west-1"); len(kinds) != 1 {
			t.Errorf("in other regions tried %v, want one", kinds)
		}
		if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "DescribeRegions") {
			t.Errorf("warnings %q", got.Warnings)
		}

		out, _, _ := runCheck(t, cloud, config, options{})
		for _, text := range []string{
			`"Action": [`, `"ec2:DescribeRegions",`, `"ec2:DescribeVolumes"`,
			"hint: Attach the policy below to arn:aws:iam::111111111111:user/u",
			"Change the service control policy of the organization that denies ec2:DescribeVpcs",
			"prod: not enabled for the account: ap-east-1",
		} {
			if !strings.Contains(out, text) {
				t.Errorf("the table lacks %q:\n%s", text, out)
			}
		}
		if _, after, _ := strings.Cut(out, `"Action": [`); strings.Contains(after, "DescribeVpcs") {
			t.Errorf("the statement has an action that a service control policy denies:\n%s", out)
		}
		if _, found, _ := runCheck(t, cloud, config, options{allRegions: true}); len(
			found["prod"].kinds("eu-west-1"),
		) != len(
			want,
		) {
			t.Errorf("--all-regions tried %v in eu-west-1", found["prod"].kinds("eu-west-1"))
		}
	})
}

func compactJSON(b []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b
	}
	return out.Bytes()
}

// Every kind of the catalogue can be checked with the permissions that `policy` prints, and check lists no resource.
func TestCheckEveryKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := awsfake.New(awsfake.Options{})
		a := cloud.AddAccount("111111111111", "aws")
		_, found, _ := runCheck(
			t, cloud,
			"collector_configs: {regions: [eu-west-1], kinds: ['*']}\naccounts:\n"+block("prod", a.AddUser("u").NewKey()),
			options{},
		)
		tried, all := found["prod"].kinds("eu-west-1"), found["prod"].Tried
		tried = append(tried, found["prod"].kinds(record.GlobalRegion)...)
		for i := range collectors.Kinds {
			if k := &collectors.Kinds[i]; !slices.Contains(tried, k.Name) {
				t.Errorf("%s was not tried", k.Name)
			}
		}
		_, found, _ = runCheck(
			t,
			cloud,
			"collector_configs: {regions: [eu-west-1, us-west-2], kinds: [ec2_region, ec2_vpc]}\naccounts:\n"+block(
				"prod",
				a.AddUser("v").NewKey(),
			),
			options{allRegions: true},
		)
		if one, other := found["prod"].kinds("eu-west-1"), found["prod"].kinds("us-west-2"); len(one) != 2 ||
			len(other) != 1 {
			t.Errorf("a global kind was checked in more regions: %v and %v", one, other)
		}
		granted := account.Actions(configfile.KnownNames().Kinds)
		for _, c := range all {
			if !slices.Contains(granted, c.Action) {
				t.Errorf("%s needs %s, which policy does not grant", c.Kind, c.Action)
			}
			if c.State != "ok" && c.State != "region_disabled" { // operations that the fake does not serve
				t.Errorf("%s: %s: %s", c.Kind, c.State, c.Error)
			}
		}
	})
}

// Accounts whose STS hangs, whose EC2 hangs or whose key is gone delay no other account, and take no longer than the
// timeout.
func TestCheckFailingAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := awsfake.New(awsfake.Options{Latency: 50 * time.Millisecond})
		var config strings.Builder
		config.WriteString("collector_configs: {regions: [us-east-1], kinds: [ec2_instance, ec2_volume]}\naccounts:\n")
		for i, name := range []string{"one", "hung-ec2", "gone", "two", "hung-sts"} {
			a := cloud.AddAccount(fmt.Sprintf("11111111111%d", i), "aws")
			u := a.AddUser("u")
			k := u.NewKey()
			config.WriteString(block(name, k))
			switch name {
			case "gone":
				u.DeleteKey(k.ID)
			case "hung-sts":
				cloud.Inject(awsfake.Fault{Kind: awsfake.Hang, Account: a.ID, Service: "sts"})
			case "hung-ec2":
				cloud.Inject(awsfake.Fault{Kind: awsfake.Hang, Account: a.ID, Action: "DescribeVolumes"})
			}
		}
		began := time.Now()
		_, found, status := runCheck(t, cloud, config.String(), options{timeout: time.Minute})
		if took := time.Since(began); took > time.Minute+time.Second {
			t.Errorf("it took %s", took)
		}
		if status != record.RunPartial {
			t.Errorf("%s", status)
		}
		for name, want := range map[string]string{
			"one": "success ", "two": "success ", "gone": "failed bad_key", "hung-sts": "failed timeout", "hung-ec2": "partial ",
		} {
			if got := found[name].Status + " " + found[name].Reason; got != want ||
				found[name].Hint == "" && strings.HasPrefix(want, "failed") {
				t.Errorf("%s: %q, want %q: %+v", name, got, want, found[name])
			}
		}
		for _, k := range found["hung-ec2"].Tried {
			if want := map[string]string{"ec2_instance": "ok", "ec2_volume": "timeout"}[k.Kind]; k.State != want {
				t.Errorf("%s: %+v", k.Kind, k)
			}
		}
		checkAccounts := func(names ...string) record.Status {
			options := options{accounts: names}
			_, _, status := runCheck(t, cloud, config.String(), options)
			return status
		}
		if status := checkAccounts("gone"); status != record.RunFailed {
			t.Errorf("no account could be opened: %s", status)
		}
		if status := checkAccounts("one", "two"); status != record.Success {
			t.Errorf("both accounts are well: %s", status)
		}
	})
}

// check warns about a wrong clock before AWS refuses requests, and about an MFA session two hours before it ends.
func TestCheckWarns(t *testing.T) {
	for off, want := range map[time.Duration]string{
		0: "", 30 * time.Second: "", 2 * time.Minute: "2m0s behind", -2 * time.Minute: "2m0s ahead of",
		20 * time.Minute: "20m0s behind",
	} {
		synctest.Test(t, func(t *testing.T) {
			cloud := awsfake.New(awsfake.Options{ClockOffset: off})
			a := cloud.AddAccount("111111111111", "aws")
			_, found, status := runCheck(
				t,
				cloud,
				"collector_configs: {regions: [us-east-1], kinds: [ec2_volume]}\naccounts:\n"+block(
					"prod",
					a.AddUser("u").NewKey(),
				),
				options{},
			)
			got := found["prod"]
			if status != record.Success || got.Clock == nil || math.Abs(*got.Clock+off.Seconds()) > 1 {
				t.Fatalf("AWS is %s ahead: %s, %+v", off, status, got)
			}
			warnings := strings.Join(got.Warnings, "\n")
			if (warnings != "") != (want != "") || !strings.Contains(warnings, want) {
				t.Errorf("AWS is %s ahead: %q, want %q", off, warnings, want)
			}
		})
	}
	for _, c := range []struct {
		session string
		warned  bool
	}{{"1h30m", true}, {"36h", false}} {
		synctest.Test(t, func(t *testing.T) {
			cloud := awsfake.New(awsfake.Options{})
			a := cloud.AddAccount("111111111111", "aws")
			u := a.AddUser("u")
			k, m := u.NewKey(), u.AddMFA("u")
			_, found, _ := runCheck(
				t,
				cloud,
				fmt.Sprintf(
					"collector_configs: {regions: [us-east-1], kinds: [ec2_volume]}\naccounts:\n"+
						"  - {name: prod, ak_id: %s, ak_secret: %q, serial_number: %q, token_code: %q, "+
						"mfa_session_duration: %s}\n",
					k.ID,
					k.Secret,
					m.Serial,
					m.Now(),
					c.session,
				),
				options{},
			)
			got := found["prod"]
			if got.Expires == nil || len(got.Path) != 2 ||
				strings.Contains(strings.Join(got.Warnings, ""), "the MFA session ends in 1h30m") != c.warned {
				t.Errorf("a session of %s: %+v", c.session, got)
			}
		})
	}
}

// check warns about an old key if the user may read its age. Otherwise it is not a failure.
func TestCheckWarnsAboutOldKeys(t *testing.T) {
	for _, c := range []struct {
		days   int
		denied bool
		warned bool
	}{{89, false, false}, {91, false, true}, {91, true, false}} {
		synctest.Test(t, func(t *testing.T) {
			cloud := awsfake.New(awsfake.Options{})
			a := cloud.AddAccount("111111111111", "aws")
			u := a.AddUser("u")
			k := u.NewKey()
			u.SetKeyCreated(k.ID, time.Now().AddDate(0, 0, -c.days))
			if c.denied {
				a.Deny(awsfake.Denial{Action: "iam:ListAccessKeys"})
			}
			_, found, status := runCheck(
				t, cloud, "collector_configs: {regions: [us-east-1], kinds: [ec2_volume]}\naccounts:\n"+block("prod", k),
				options{},
			)
			got := found["prod"]
			if status != record.Success || strings.Contains(strings.Join(got.Warnings, ""), "91 days old") != c.warned ||
				(got.KeyCreated == nil) != c.denied ||
				(got.KeyError != "") != c.denied {
				t.Errorf("%+v: %s, %+v", c, status, got)
			}
		})
	}
}

// Many accounts with one old key take one call to IAM and get one warning.
func TestCheckWarnsOncePerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := awsfake.New(awsfake.Options{})
		hub := cloud.AddAccount("111111111111", "aws")
		u := hub.AddUser("u")
		k := u.NewKey()
		u.SetKeyCreated(k.ID, time.Now().AddDate(0, 0, -120))
		text := "collector_configs: {regions: [us-east-1], kinds: [ec2_volume]}\naccounts:\n"
		for i := range 20 {
			a := cloud.AddAccount(fmt.Sprintf("2222222222%02d", i), "aws")
			a.AddRole("reader", awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{hub.ID}}}})
			text += fmt.Sprintf(
				"  - {name: a%02d, ak_id: %s, ak_secret: %q, account_id: %q, role: reader}\n", i, k.ID, k.Secret, a.ID,
			)
		}
		out, _, status := runCheck(t, cloud, text, options{})
		if status != record.Success || strings.Count(out, "days old") != 1 ||
			!strings.Contains(out, "a00, a01, a02 and 17 others: warning: access key AKIA…") {
			t.Errorf("%s\n%s", status, out)
		}
		if n := len(cloud.Calls(func(c *awsfake.Call) bool { return c.Action == "ListAccessKeys" })); n != 1 {
			t.Errorf("%d calls to IAM", n)
		}
	})
}

// TestNoAllowAgainstADenial: check suggests an Allow only for what an Allow would help.
func TestNoAllowAgainstADenial(t *testing.T) {
	denied := &record.Fault{Reason: record.AccessDenied, Err: errors.New("explicit deny in a service control policy")}
	result := kindResult{Outcome: record.Outcome{State: record.Denied, Reason: record.AccessDenied}}
	ac := &Account{plan: runner.Plan{Warning: denied}, results: []kindResult{result}}
	if got := ac.missingActions(); len(got) > 0 {
		t.Errorf("suggests to allow %q", got)
	}
	result.MissingAction = "ec2:DescribeVolumes"
	ac.action, ac.results = "ec2:DescribeRegions", []kindResult{result}
	if got := strings.Join(ac.missingActions(), " "); got != "ec2:DescribeRegions ec2:DescribeVolumes" {
		t.Errorf("suggests to allow %q", got)
	}
}
