package config

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/secret"
)

// The checks of each file of testdata/good. A file without an entry fails.
var good = map[string]func(t *testing.T, f *File){
	"seed-1-access-key": func(t *testing.T, f *File) {
		a := onlyAccount(t, f)
		checkEqual(t, "name", a.Name, "china")
		checkEqual(t, "ak_id", a.AKID, "AKIAIOSFODNN7EXAMPLE")
		checkEqual(t, "ak_secret", a.AKSecret.Reveal(), exampleSecret)
		checkEqual(t, "regions", a.Collect.Regions, []string{"cn-northwest-1"})
		checkEqual(t, "kinds", a.Collect.Kinds, []string{"ec2_instance"})
		checkEqual(t, "schedule", a.Schedule, "*/15 * * * *")
		checkEqual(t, "timezone", a.Timezone, "UTC")
		checkEqual(t, "timeout", a.Timeout, Duration(time.Hour))
		checkEqual(t, "overlap", a.Overlap, "skip")
		checkEqual(t, "role", a.Role, Role{})
		checkEqual(t, "line", a.Line, 2)
		checkEqual(t, "outputs", len(f.Outputs), 1)
		checkEqual(t, "output", f.Outputs[0].Type, "stdout")
	},
	"seed-2-key-and-role": func(t *testing.T, f *File) {
		checkEqual(t, "role",
			onlyAccount(t, f).Role,
			Role{
				ARN:         "arn:aws-cn:iam::222222222222:role/collector",
				RoleSession: RoleSession{SessionName: "guance", Duration: Duration(time.Hour)},
			},
		)
	},
	"seed-3-mfa": func(t *testing.T, f *File) {
		a := onlyAccount(t, f)
		checkEqual(t, "token_code", a.TokenCode.Reveal(), "012345")
		checkEqual(t, "mfa_session_duration", a.MFASessionDuration, Duration(36*time.Hour))
		checkWarnings(t, f, "account.token_code")
	},
	"seed-3-mfa-and-role": func(t *testing.T, f *File) {
		a := onlyAccount(t, f)
		checkEqual(t, "token_code", a.TokenCode.Reveal(), "012345")
		checkEqual(t, "role", a.SessionName, "guance")
		checkWarnings(t, f, "account.token_code")
	},
	"seed-4-instance-role": func(t *testing.T, f *File) {
		a := onlyAccount(t, f)
		checkEqual(t, "name", a.Name, "here")
		checkEqual(t, "regions", a.Collect.Regions, []string{"*"})
	},
	"seed-5-schedule": func(t *testing.T, f *File) {
		checkEqual(t, "timeout", f.Timeout, Duration(time.Hour))
		checkEqual(t, "name", onlyAccount(t, f).Name, "default")
	},
	"seed-13-machine-and-role": func(t *testing.T, f *File) {
		checkEqual(t, "sources",
			mapAccounts(f, func(a Account) string { return a.CredentialSource }),
			[]string{"Ec2InstanceMetadata", "Environment", "EcsContainer"},
		)
		checkEqual(t, "sessions",
			mapAccounts(f, func(a Account) string { return a.SessionName }),
			[]string{"collector", "collector", "collector"},
		)
		checkEqual(t, "lines",
			[]int{f.Accounts[0].Line, f.Accounts[1].Line, f.Accounts[2].Line},
			[]int{2, 5, 8},
		)
	},
	"chain": func(t *testing.T, f *File) {
		checkEqual(t, "roles", onlyAccount(t, f).Roles, []Role{
			{
				ARN:         "arn:aws:iam::111111111111:role/hub",
				RoleSession: RoleSession{SessionName: "collector", Duration: Duration(3 * time.Hour)},
			},
			{
				ARN:         "arn:aws:iam::222222222222:role/team/reader",
				RoleSession: RoleSession{SessionName: "me@example.com", ExternalID: "0042", Duration: Duration(30 * time.Minute)},
			},
		})
	},
	"temporary-key": func(t *testing.T, f *File) {
		checkEqual(t, "token", onlyAccount(t, f).SessionToken.Reveal(), exampleToken)
	},
	"hardware-mfa": func(t *testing.T, f *File) {
		checkEqual(t, "token_code", onlyAccount(t, f).TokenCode.Reveal(), "012345")
		checkEqual(t, "mfa_session_duration", onlyAccount(t, f).MFASessionDuration, Duration(12*time.Hour))
		checkWarnings(t, f, "accounts[0].token_code")
	},
	"seed-9-account-and-role": func(t *testing.T, f *File) {
		checkEqual(t, "roles", mapAccounts(f, func(a Account) string { return a.ARN }), []string{
			"arn:aws:iam::222222222222:role/manage-role",
			"arn:aws-cn:iam::333333333333:role/team/manage-role",
			"arn:aws-cn:iam::444444444444:role/manage-role",
			"",
			"arn:aws-cn:iam::666666666666:role/manage-role",
		})
		checkEqual(t, "role",
			f.Accounts[0].Role,
			Role{
				ARN:         "arn:aws:iam::222222222222:role/manage-role",
				RoleSession: RoleSession{SessionName: "collector", ExternalID: "0042", Duration: Duration(time.Hour)},
			},
		)
		checkEqual(t, "partitions",
			mapAccounts(f, func(a Account) string { return a.Partition }),
			[]string{"", "aws-cn", "", "aws", ""},
		)
		checkWarnings(t, f)
	},
	"session-key": func(t *testing.T, f *File) {
		key, err := ParseSessionKey(f.SessionKey.Reveal())
		checkEqual(t, "session_key", err, nil)
		checkEqual(t, "session_key", key.Reveal(), "01234567890123456789012345678901")
	},
	"queries": func(t *testing.T, f *File) {
		checkEqual(t, "names", slices.Sorted(maps.Keys(f.Queries)), []string{"by-variable", "old"})
		checkEqual(t, "old", f.Queries["old"].Flags(),
			map[string]string{"kind": "instance,volume", "where": "state=stopped", "limit": "20"})
		checkEqual(t, "by-variable", f.Queries["by-variable"].Flags(), map[string]string{"account": "prod"})
	},
	"session": func(t *testing.T, f *File) {
		r := onlyAccount(t, f).Role
		checkEqual(t, "source_identity", r.SourceIdentity, "collector@example.com")
		checkEqual(t, "session_tags", r.SessionTags, map[string]string{"team": "platform", "cost:center": "0042"})
		checkEqual(t, "session_policy", strings.HasPrefix(r.SessionPolicy, `{"Version"`), true)
	},
	"mfa-for-good": func(t *testing.T, f *File) {
		seed, err := ParseTOTP(f.Accounts[0].TOTPSeed.Reveal())
		checkEqual(t, "seed", []string{seed.Algorithm, seed.Period.String()}, []string{"SHA256", "1m0s"})
		checkEqual(t, "seed", err, nil)
		checkEqual(t, "token_command", f.Accounts[1].TokenCommand, []string{"pass", "otp", "prod"})
		checkEqual(t, "durations",
			mapAccounts(f, func(a Account) string { return a.MFASessionDuration.String() }),
			[]string{"36h", "36h", "36h", "12h"},
		)
		checkWarnings(t, f, "accounts[2].serial_number", "accounts[3].token_code")
	},
	"inherit": func(t *testing.T, f *File) {
		all, own := f.Accounts[0], f.Accounts[1]
		checkEqual(t, "all", all.Collect, f.Defaults)
		checkEqual(t, "max_gone", all.Collect.MaxGone, MaxGone{Percent: 50, AtLeast: 20})
		checkEqual(t, "all",
			[]string{all.Schedule, all.Timezone, all.Timeout.String(), all.Overlap},
			[]string{"@hourly", "Europe/Berlin", "30m", "queue"},
		)
		checkEqual(t, "own",
			own.Collect,
			Collect{
				Regions:      []string{"us-east-1"},
				Kinds:        []string{"ec2_volume"},
				Schedules:    map[string]string{},
				ExpectDenied: []ExpectedDenial{},
				MaxGone:      MaxGone{Percent: 50, AtLeast: 5},
				Sensitive:    "clear",
			},
		)
		checkEqual(t, "own",
			[]string{own.Schedule, own.Timezone, own.Timeout.String(), own.Overlap},
			[]string{"0 3 * * *", "Asia/Tokyo", "1m30s", "cancel"},
		)
	},
	"names": func(t *testing.T, f *File) {
		checkEqual(t, "names",
			mapAccounts(f, func(a Account) string { return a.Name }),
			[]string{"default-caaa62d5", "account-3", "default-caaa62d5-2", "four", "five"},
		)
		checkEqual(t, "formerly",
			f.FormerNames,
			map[string]string{"default-caaa62d5": "account-1", "default-caaa62d5-2": "account-3-2"},
		)
		checkWarnings(t, f, "accounts[2]")
	},
	"two-partitions": func(t *testing.T, f *File) { checkEqual(t, "accounts", len(f.Accounts), 3) },
	"references": func(t *testing.T, f *File) {
		checkEqual(t, "timeout", f.Timeout, Duration(90*time.Second))
		checkEqual(t, "pages", f.Limits.Pages, 8)
		checkEqual(t, "gzip", *f.Limits.GZIP, false)
		checkEqual(t, "output", f.Outputs[0].Options.(*fileOptions).Path, "out.jsonl")
		a := onlyAccount(t, f)
		checkEqual(t, "name", a.Name, "prod-eu")
		checkEqual(t, "ak_id", a.AKID, "AKIAIOSFODNN7EXAMPLE")
		checkEqual(t, "ak_secret", a.AKSecret.Reveal(), exampleSecret)
		checkEqual(t, "extra_tags",
			a.ExtraTags,
			map[string]string{"price": "10$ or 8$", "empty": "", "literal": "${env:NAME}"},
		)
	},
	"anchors": func(t *testing.T, f *File) {
		checkEqual(t, "names", mapAccounts(f, func(a Account) string { return a.Name }), []string{"one", "two", "three"})
		checkEqual(t, "two", f.Accounts[1].ExtraTags, map[string]string{"team": "platform", "tier": "gold"})
		checkEqual(t, "three",
			f.Accounts[2].ExtraTags,
			map[string]string{"team": "platform", "tier": "silver", "zone": "b"},
		)
		checkEqual(t, "three", f.Accounts[2].Collect.Regions, []string{"eu-central-1", "eu-west-1"})
	},
	"as-written": func(t *testing.T, f *File) {
		a := onlyAccount(t, f)
		checkEqual(t, "text", []string{a.Name, a.AccountID, a.ExternalID}, []string{"0042", "012345678901", "1e3"})
		checkEqual(t, "extra_tags",
			a.ExtraTags,
			map[string]string{"cost_center": "0123", "on": "yes", "live": "true", "since": "2026-01-02", "version": "1.10"},
		)
	},
	"durations": func(t *testing.T, f *File) {
		checkEqual(t, "durations",
			[]Duration{f.Jitter, f.Timeout, f.DrainTimeout, f.Limits.MaxBackoff, f.Limits.CallTimeout},
			[]Duration{
				0,
				Duration(7 * 24 * time.Hour),
				Duration(1500 * time.Millisecond),
				Duration(500 * time.Millisecond),
				Duration(90 * time.Second),
			},
		)
	},
	"outputs": func(t *testing.T, f *File) {
		checkEqual(t, "stdout", f.Outputs[0].Options.(*stdoutOptions).Ends, true)
		o := f.Outputs[1].Options.(*fileOptions)
		checkEqual(t, "file",
			[]any{o.Path, o.Compression, o.Rotate.MaxBytes, o.Rotate.MaxAge, o.Rotate.Keep},
			[]any{"out/records.jsonl", "zstd", size(65536), time.Hour, 3},
		)
		h := f.Outputs[2].Options.(*httpOptions)
		checkEqual(t, "http",
			[]any{h.Token.Reveal(), h.Headers["x"].Reveal(), h.Codes, h.Rate, *h.Weight, h.Routes[1].To},
			[]any{"planted-token", "planted-header", []int{200, 204}, 2.0, uint8(3), "/b"},
		)
		checkEqual(t, "line", f.Outputs[2].Line, 5)
	},
	"store-keep": func(t *testing.T, f *File) {
		checkEqual(t, "store", f.Store, Store{Type: "sqlite", KeepRuns: Duration(30 * 24 * time.Hour), Sync: "full"})
	},
	"store-postgres": func(t *testing.T, f *File) {
		checkEqual(t, "dsn", f.Store.DSN.Reveal(), plantedDSN)
		f.Store.DSN = secret.String{}
		checkEqual(t, "store",
			f.Store,
			Store{
				Type: "postgres", Schema: "inventory_2", Keep: Duration(30 * 24 * time.Hour),
				KeepRuns: Duration(30 * 24 * time.Hour), Sync: "normal",
			},
		)
	},
	"store-and-engine": func(t *testing.T, f *File) {
		checkEqual(t, "store", f.Store, Store{
			Type: "none", Keep: Duration(400 * 24 * time.Hour), KeepRuns: Duration(30 * 24 * time.Hour), Sync: "normal",
		})
		checkEqual(t, "web",
			f.Web,
			Web{
				Listen:        ":0",
				LabelTags:     []string{"team"},
				MetricsDetail: true,
				MCP:           true,
				ConfigFile:    "web.yaml",
				ActUsers:      []string{"alice"},
				Hosts:         []string{"collector", "*.Example.com", "10.0.0.1", "::1", "[2001:db8::7]", "prod.example.com"},
			},
		)
	},
}

func TestGood(t *testing.T) {
	for path, b := range readFiles(t, "testdata/good/*.yaml") {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			f, err := load(b, path)
			if err != nil {
				t.Fatal(err)
			}
			check := good[name]
			if check == nil {
				t.Fatal("has no checks in good")
			}
			check(t, f)
			if err := f.Resolve(testEnv, testReadFile); err != nil {
				t.Errorf("a second Resolve: %v", err)
			}
		})
	}
}

func onlyAccount(t *testing.T, f *File) Account {
	t.Helper()
	if len(f.Accounts) != 1 {
		t.Fatalf("got %d accounts", len(f.Accounts))
	}
	return f.Accounts[0]
}

func mapAccounts[T any](f *File, of func(Account) T) []T {
	var all []T
	for _, b := range f.Accounts {
		all = append(all, of(b))
	}
	return all
}

func checkEqual[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func checkWarnings(t *testing.T, f *File, paths ...string) {
	t.Helper()
	var got []string
	for _, w := range f.Warnings {
		got = append(got, w.Path)
	}
	checkEqual(t, "warnings", got, paths)
}

func TestWarnings(t *testing.T) {
	const text = `
accounts:
  - name: both
    profile: one
    ak_id: AKIAIOSFODNN7EXAMPLE
    ak_secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
    credential_source: Environment
    role_session_name: me
    account_id: "111111111111"
    sts_region: eu-north-7
  - name: again
    assume_role_arn: arn:aws:iam::111111111111:role/reader
    mfa_session_duration: 1h
  - name: no-code
    serial_number: arn:aws:iam::111111111111:mfa/alice
web: {hosts: [collector, "*"]}
store: {type: none}
collector_configs: {max_gone: {percent: 50}}
`
	f, err := load([]byte(text), "c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkNoSecret(t, "warnings", Problems(f.Warnings))
	want := []string{
		`c.yaml:5: accounts[0].ak_id: is not used: profile wins; remove one of them`,
		`c.yaml:7: accounts[0].credential_source: is not used: profile wins; remove one of them`,
		`c.yaml:8: accounts[0].role_session_name: is not used without assume_role_arn; ` +
			`set it in the block of a role of assume_roles, or remove it`,
		`c.yaml:10: accounts[0].sts_region: "eu-north-7" is not a region that this build knows; ` +
			`check the name: the region may be newer than this build`,
		`c.yaml:11: accounts[1]: this is account "111111111111", like accounts[0] (line 3): ` +
			`only the first block of an account is collected; merge the blocks`,
		`c.yaml:13: accounts[1].mfa_session_duration: is not used without serial_number; remove it`,
		`c.yaml:15: accounts[2].serial_number: no MFA codes are configured: the account needs "collector login" now, ` +
			`and again when each session ends; set totp_seed or token_command for a daemon`,
		`c.yaml:16: web.hosts[1]: "*" matches every host: a web page can then read ` +
			`what is served here through a name that resolves to this address (DNS rebinding); list the hosts`,
		`c.yaml:18: collector_configs.max_gone: has no effect: the store's type is none; ` +
			`set another type of store, or remove it`,
	}
	if got := Problems(f.Warnings).Error(); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// A reference is stored as written before Resolve, and after a Resolve that fails.
func TestResolveFails(t *testing.T) {
	f, err := Parse([]byte("accounts: [{name: '${env:NOT_SET}'}]\ntimeout: ${env:NOT_SET}"), "c.yaml", testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := f.Resolve(testEnv, testReadFile)
		want := "c.yaml:1: accounts[0].name: ${env:NOT_SET}: the variable is not set, or is empty\n" +
			"c.yaml:2: timeout: ${env:NOT_SET}: the variable is not set, or is empty"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		checkEqual(t, "name", f.Accounts[0].Name, "${env:NOT_SET}")
		checkEqual(t, "timeout", f.Timeout, Duration(time.Hour))
	}
}

// Each reference is read once, even if the file contains it several times.
func TestResolveReadsOnce(t *testing.T) {
	text := "accounts: [{name: 'a-${file:/n}', profile: '${file:/n}'}, {name: 'b-${file:/n}'}]"
	f, err := Parse([]byte(text), "", testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	err = f.Resolve(testEnv, func(string) ([]byte, error) {
		reads++
		return fmt.Appendf(nil, "%d\n", reads), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "reads", reads, 1)
	checkEqual(t, "values",
		[]string{f.Accounts[0].Name, f.Accounts[0].Profile, f.Accounts[1].Name},
		[]string{"a-1", "1", "b-1"},
	)
}

// A configuration that is printed by mistake shows no secret in any format, before and after Resolve.
func TestFilePrintsNoSecret(t *testing.T) {
	for path, b := range readFiles(t, "testdata/good/*.yaml") {
		f, err := Parse(b, path, testRegistry())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var log strings.Builder
			slog.New(slog.NewTextHandler(&log, nil)).Info("config", "file", f, "account", f.Accounts[0])
			text := log.String() + fmt.Sprintf("%v %+v %#v %+v", f, *f, f.Accounts, f.Outputs)
			for _, s := range []string{exampleSecret, exampleToken, "planted-token", "planted-header"} {
				if strings.Contains(text, s) {
					t.Errorf("%s: %q is printed:\n%s", path, s, text)
				}
			}
			if err := f.Resolve(testEnv, testReadFile); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Aliases cannot expand a small file into a large one, and nesting cannot overflow the stack.
func TestExpansionAttacks(t *testing.T) {
	var b strings.Builder
	b.WriteString("x: &a [" + strings.Repeat("x,", 2000) + "x]\n")
	accounts := strings.Repeat("{collector_configs: {regions: *a}},", 2000)
	fmt.Fprintf(&b, "accounts: [%s]\n", strings.TrimSuffix(accounts, ","))
	laughs := "a: &a0 {k: v}\n"
	for i := range 30 {
		laughs += fmt.Sprintf("b%d: &a%d {<<: [*a%d, *a%d, *a%d]}\n", i, i+1, i, i, i)
	}
	laughs += "account: {extra_tags: *a30}\n"
	for name, text := range map[string]string{
		"list":    b.String(),
		"merge":   laughs,
		"nesting": "account: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"large":   strings.Repeat("# nothing\n", MaxFile/10+1),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if _, err := load([]byte(text), ""); err == nil {
				t.Error("nothing is reported")
			} else if len(err.Error()) > 2_000_000 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
			t.Logf("%v", time.Since(start))
		})
	}
}

func TestDefaults(t *testing.T) {
	f, err := load([]byte("accounts: [{}]"), "")
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Accounts, want.Outputs, want.FormerNames = f.Accounts, f.Outputs, map[string]string{"default": "account-1"}
	checkEqual(t, "file", *f, want)
}

func TestScheduleOf(t *testing.T) {
	c := Collect{Schedules: map[string]string{"ec2_*": "a", "ec2_i*": "b", "ec2_image": "c", "*_v*": "d", "ec2_v": "e"}}
	got := map[string]string{}
	for _, kind := range []string{"ec2_image", "ec2_instance", "ec2_volume", "ec2_snapshot", "s3"} {
		if s, ok := c.ScheduleOf(kind); ok {
			got[kind] = s
		}
	}
	want := map[string]string{"ec2_image": "c", "ec2_instance": "b", "ec2_volume": "a", "ec2_snapshot": "a"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestExpected(t *testing.T) {
	c := Collect{ExpectDenied: []ExpectedDenial{{Region: "ap-*"}, {Region: "us-east-1", Kind: "ec2_v*"}}}
	var got []string
	for _, region := range []string{"ap-east-1", "us-east-1", "us-west-1"} {
		for _, kind := range []string{"ec2_image", "ec2_volume"} {
			if c.Expected(region, kind) {
				got = append(got, region+" "+kind)
			}
		}
	}
	if want := []string{"ap-east-1 ec2_image", "ap-east-1 ec2_volume", "us-east-1 ec2_volume"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A secret in the file itself is stored as written: not trimmed, and not parsed as a number.
func TestSecretAsWritten(t *testing.T) {
	f, err := load([]byte("accounts: [{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: 0123456789}]"), "")
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "secret", f.Accounts[0].AKSecret, secret.New("0123456789"))
}
