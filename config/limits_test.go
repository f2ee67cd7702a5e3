package config

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/internal/samebuild"
)

// numbered makes texts of any length, each piece with its own number.
func numbered(before, piece, after string) func(n int) string {
	return func(n int) string {
		var b strings.Builder
		b.WriteString(before)
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, piece, i)
		}
		return b.String() + after
	}
}

// repeated makes texts of any length, of equal pieces.
func repeated(before, piece, after string) func(n int) string {
	return func(n int) string { return before + strings.Repeat(piece, n/len(piece)) + after }
}

const accountAfter = "}\naccounts: [{}]\n"

// hostileFiles are inputs of any size, made to be expensive.
var hostileFiles = map[string]func(n int) string{
	"unknown keys":               numbered("", "key%d: 1\n", ""),
	"unknown keys of an account": numbered("accounts:\n- name: a\n", "  key%d: 1\n", ""),
	"unknown keys of an output":  numbered("accounts: [{}]\noutputs:\n- type: http\n", "  key%d: 1\n", ""),
	"near misses":                numbered("accounts:\n", "- {nam: x, regons: [a], accesskey: b, k%d: 1}\n", ""),
	"one mistake an account":     repeated("accounts:\n", "- {regons: a}\n", ""),
	"one name":                   repeated("accounts:\n", "- {name: x}\n", ""),
	"no name":                    repeated("accounts:\n", "- {}\n", ""),
	"nothing an account":         repeated("accounts:\n", "-\n", ""),
	"one key":                    repeated("accounts: [{}]\n", "timeout: 1m\n", ""),
	"kinds":                      numbered("collector_configs: {kinds: [", "ec2_k%d, ", "]"+accountAfter),
	"kinds of accounts": numbered(
		"accounts:\n",
		"- {collector_configs: {kinds: [ec2_instanc%d, 'ec2_i*']}}\n",
		"",
	),
	"good kinds":          repeated("collector_configs: {kinds: [", "ec2_instance, ", "]"+accountAfter),
	"regions":             numbered("collector_configs: {regions: [", "us-east-%d, ", "]"+accountAfter),
	"regions of accounts": numbered("accounts:\n", "- {collector_configs: {regions: [eu-wst-%d, 'eu-*']}}\n", ""),
	"schedules":           numbered("collector_configs: {schedules: {", "ec2_k%d: '@daily', ", "}"+accountAfter),
	"tags":                numbered("accounts: [{extra_tags: {", "t%d: x, ", "}}]\n"),
	"headers": numbered(
		"accounts: [{}]\noutputs: [{type: http, url: 'https://x', headers: {",
		"h%d: '${env:SECRET}', ",
		"}, echo: true}]\n",
	),
	"names of an output": numbered(
		"accounts: [{}]\noutputs: [{type: http, url: 'https://x', names: {",
		"n%d: 'a..${env:SECRET}', ",
		"}}]\n",
	),
	"outputs":               numbered("accounts: [{}]\noutputs:\n", "- {type: http, url: 'x%d'}\n", ""),
	"references to nothing": numbered("accounts: [{}]\ndata_dir: '", "${env:N%d}", "'\n"),
	"many references":       repeated("accounts: [{}]\ndata_dir: '", "${env:SECRET}", "'\n"),
	"dashes":                repeated("", "-", ""),
	"dashes and spaces":     repeated("", "- ", ""),
	"dashes and lines":      repeated("", "-\n", ""),
	"brackets":              repeated("", "[", ""),
	"braces":                repeated("", "{a: ", ""),
	"questions":             repeated("", "? ", ""),
	"anchors":               numbered("", "a%[1]d: &a%[1]d 1\n", ""),
	"tags of YAML":          repeated("", "!t ", ""),
	"directives":            numbered("", "%%TAG !t%d! x\n", "---\n"),
	"comments":              repeated("accounts:\n", "# x\n", "- {}\n"),
	"comments of keys":      numbered("", "# x\nk%d: 1 # y\n", accountAfter[2:]),
	"comments between":      repeated("accounts:\n", "- {}\n# x\n\n", ""),
	"documents":             repeated("a: 1\n", "---\n", ""),
	"lines":                 repeated("", "\n", "accounts: [{}]\n"),
	"a literal":             repeated("accounts: [{}]\ndata_dir: |\n", " x\n", ""),
	"a long text":           repeated("accounts: [{}]\ndata_dir: '", "x", "'\n"),
	"escapes":               repeated("accounts: [{}]\ndata_dir: \"", `\x41`, "\"\n"),
	"a long key":            repeated("", "x", ": 1\n"),
	"bad indentation":       repeated("accounts:\n", "- name: x\n", " foo: a\n"),
	"an alias of nothing":   repeated("accounts:\n", "- name: x\n", "- *b\n"),
	"a template":            repeated("organizations: [{role: a, name: '", "{{if .ID}}", "'}]\n"),
	"aliases": repeated(
		"x: &t {a: '1', b: '2', c: '3', d: '4', e: '5'}\naccounts:\n- &a {extra_tags: *t}\n",
		"- *a\n",
		"",
	),
	"merges of merges": numbered(
		"a0: &a0 {k: 1}\n",
		"m%[1]d: &a%[1]d {<<: [*a0, *a0], k%[1]d: 1}\n",
		"accounts: [{<<: *a1}]\n",
	),
	"a list of merges": repeated("a: &a {name: x}\naccounts:\n- <<: [", "*a, ", "]\n"),
	"filters":          numbered("organizations: [{role: a, include: {accounts: [", "'%012d', ", "]}}]\n"),
	"hops":             numbered("accounts: [{assume_roles: [", "{assume_role_arn: 'x%d'}, ", "]}]\n"),
	"denied": numbered(
		"collector_configs: {expect_denied: [",
		"{kind: 'ec2_%d*', region: 'eu-%[1]d-*'}, ",
		"]"+accountAfter,
	),
}

// The cost of a configuration is limited, and proportional to its size for any content: a text of twice the size
// allocates twice as much.
func TestCostIsProportional(t *testing.T) {
	cost := func(text string) (mallocs, bytes float64, err error) {
		in := []byte(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = load(in, "c.yaml")
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc), err
	}
	most := 1000.0 // bytes allocated for each byte of text
	if samebuild.HasRace() {
		most *= 2 // the race detector makes sync.Pool drop values
	}
	for name, text := range hostileFiles {
		t.Run(name, func(t *testing.T) {
			const n = 40_000
			one, oneBytes, _ := cost(text(n))
			two, twoBytes, err := cost(text(2 * n))
			if two > 2.5*one+5000 {
				t.Errorf("%.0f allocations for %d bytes, %.0f for twice as many", one, n, two)
			}
			if twoBytes > 2.5*oneBytes+4<<20 || twoBytes > most*2*n {
				t.Errorf("%.0f bytes are allocated for a text of %d bytes, %.0f for one of twice the size", oneBytes, n, twoBytes)
			}
			var all Problems
			if errors.As(err, &all) && (len(all) > yamldoc.MaxProblems+1 || len(all[0].Error()) > 1000) {
				t.Errorf("%d problems: %.200s", len(all), err)
			}
		})
	}
}

// Aliases do not expand a file beyond what a file of that size can contain.
func TestAliasLimit(t *testing.T) {
	bomb := func(levels int) string {
		var b strings.Builder
		b.WriteString("x0: &x0 {a: '1', b: '2', c: '3'}\n")
		for i := 1; i <= levels; i++ {
			fmt.Fprintf(&b, "x%d: &x%d {a: *x%[3]d, b: *x%[3]d, c: *x%[3]d, d: *x%[3]d, e: *x%[3]d, f: *x%[3]d, g: *x%[3]d}\n",
				i, i, i-1)
		}
		return b.String()
	}
	list := "l0: &l0 [{}, {}, {}, {}, {}, {}, {}, {}, {}]\nl1: &l1 {<<: *l0}\n"
	merge := "m0: &m0 {k0: 1}\n"
	for i := 1; i < 3000; i++ {
		merge += fmt.Sprintf("m%[1]d: &m%[1]d {<<: *m%[2]d, k%[1]d: 1}\n", i, i-1)
	}
	for name, text := range map[string]string{
		"unused":   bomb(12) + "accounts: [{}]\n",
		"accounts": bomb(12) + "accounts: [*x12, *x12]\n",
		"tags":     bomb(12) + "accounts: [{extra_tags: *x12}]\n",
		"output":   bomb(12) + "accounts: [{}]\noutputs: [{type: http, url: x, names: *x12}]\n",
		"lists":    list + "accounts: [{<<: [" + strings.Repeat("*l0, ", 5000) + "]}]\n",
		"merges":   merge + "accounts: [{<<: *m2999}]\n",
		"repeated": "accounts:\n- &a {name: x, extra_tags: &t {a: b}}\n" +
			strings.Repeat("- {<<: [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]}\n", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := load([]byte(text), "c.yaml")
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("no error")
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20+uint64(300*len(text)) {
				t.Errorf("%d MiB are allocated for %d bytes: %.200v", used>>20, len(text), err)
			}
		})
	}
}

// Each limit is reported with its position.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"bytes": {
			strings.Repeat("#", MaxFile+1),
			"c.yaml: the file is larger than 16 MiB; check that it is the right file",
		},
		"tokens": {
			"accounts:\n" + strings.Repeat("-\n", yamldoc.MaxTokens+1),
			"c.yaml:600001: the file exceeds 600000 keys, items and comments on this line; check that it is the right file",
		},
		"flow": {
			"accounts: [" + strings.Repeat("{},", yamldoc.MaxTokens/2) + "]",
			"c.yaml:1: the file exceeds 600000 keys, items and comments on this line; check that it is the right file",
		},
		"comments": {
			"accounts:\n" + strings.Repeat("- {} # x\n# y\n", yamldoc.MaxTokens/4),
			"c.yaml:300001: the file exceeds 600000 keys, items and comments",
		},
		"value": {
			"accounts: [{}]\ndata_dir: '" + strings.Repeat("x", yamldoc.MaxScalar+1) + "'",
			"c.yaml:2: data_dir: the value is longer than 64 KiB",
		},
		"filled": {
			"accounts: [{}]\ndata_dir: '" + strings.Repeat("${file:/run/secrets/long}", 3) + "'",
			"c.yaml:2: data_dir: the value is longer than 64 KiB with its references resolved",
		},
		"list": {
			"accounts:\n" + strings.Repeat("- {}\n", yamldoc.MaxItems+1),
			"c.yaml:1: accounts: has 50001 items, but the maximum is 50000; check that it is the right file",
		},
		"map": {
			numbered("accounts: [{extra_tags: {", "t%d: x, ", "}}]\n")(700_000),
			"c.yaml:1: accounts[0].extra_tags: has ",
		},
		"kinds": {
			"accounts: [{}]\ncollector_configs: {kinds: [" + strings.Repeat("ec2_image, ", yamldoc.MaxPatterns+1) + "]}",
			"c.yaml:2: collector_configs.kinds: has 1001 items, but the maximum is 1000",
		},
		"outputs": {
			"accounts: [{}]\noutputs:\n" + strings.Repeat("- {type: stdout}\n", yamldoc.MaxPatterns+1),
			"c.yaml:2: outputs: has 1001 items, but the maximum is 1000",
		},
		"directives": {
			strings.Repeat("%TAG ! tag:x\n", yamldoc.MaxDirectives+1) + "---\naccounts: [{}]\n",
			"c.yaml:101: the file has more than 100 YAML directives",
		},
		"depth": {strings.Repeat("[", 20_000), "c.yaml:"},
		"problems": {
			numbered("accounts: [{}]\n", "k%d: 1\n", "")(200_000),
			fmt.Sprintf("c.yaml:%d: k9999: unknown key\nc.yaml: more mistakes are not listed", yamldoc.MaxProblems+1),
		},
	} {
		_, err := load([]byte(c.text), "c.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %.300v\nwant %s", name, err, c.want)
		}
	}
}

// Ten thousand accounts with all the keys that people use are well below each limit.
func TestTenThousandAccounts(t *testing.T) {
	n := 10_000
	if samebuild.HasRace() {
		n /= 10 // nothing here is concurrent, and the detector is slow
	}
	var b strings.Builder
	b.WriteString("accounts:\n")
	for i := range n {
		fmt.Fprintf(&b, `  - name: account-%[1]d
    ak_id: ${env:AK_ID}
    ak_secret: ${file:/run/secrets/ak}
    account_id: "%012[1]d"
    assume_roles:
      - {assume_role_arn: 'arn:aws:iam::999999999999:role/hub', role_session_name: collector, external_id: word}
      - {assume_role_arn: 'arn:aws:iam::%012[1]d:role/reader', role_session_name: collector, external_id: word-%[1]d}
    schedule: "%[2]d * * * *"
    timeout: 1h
    extra_tags: {account_name: account-%[1]d, team: platform, tier: gold, cost: "1", env: prod, owner: me}
    collector_configs:
      regions: [us-east-1, us-west-2, eu-central-1, eu-west-1, ap-south-1]
      kinds: [ec2_instance, "ec2_*", "!ec2_image*"]
      schedules: {ec2_snapshot: "@daily", ec2_volume: "@hourly"}
`, i, i%60)
	}
	part := 10_000 / n
	if tokens := yamldoc.CountTokens([]byte(b.String())); tokens*part > yamldoc.MaxTokens*9/10 ||
		b.Len()*part > MaxFile*9/10 {
		t.Errorf("%d tokens, %d bytes", tokens, b.Len())
	}
	f, err := load([]byte(b.String()), "c.yaml")
	if err != nil || len(f.Accounts) != n {
		t.Errorf("%.500v", err)
	}
}

// The line of an indentation mistake is found in small and large files.
func TestIndentationMistakeLine(t *testing.T) {
	for _, before := range []int{0, 1, 5, 100, 5000} {
		for _, after := range []int{0, 1, 5, 5000} {
			text := "accounts:\n" + strings.Repeat("  - name: x\n    timeout: 1m\n", before) +
				"  - name: y\n   timeout: 1m\n" + strings.Repeat("  - name: z\n", after)
			_, err := load([]byte(text), "c.yaml")
			want := fmt.Sprintf("c.yaml:%d: is not valid YAML", 2*before+3)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%d before, %d after: %v, want %s", before, after, err, want)
			}
		}
	}
}

// BenchmarkMistakes500 validates 500 accounts with three mistakes each. The target is less than 100 ms.
func BenchmarkMistakes500(b *testing.B) {
	in := []byte(fileWithMistakes(500))
	k := testRegistry()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		var all Problems
		if _, err := Parse(in, "c.yaml", k); !errors.As(err, &all) || len(all) != 1500 {
			b.Fatalf("%d problems: %.300v", len(all), err)
		}
	}
}

func fileWithMistakes(accounts int) string {
	var text strings.Builder
	text.WriteString("accounts:\n")
	for i := range accounts {
		fmt.Fprintf(&text, `  - name: account-%[1]d
    assume_role_arn: arn:aws:iam::%012[1]d:role/collector-readonly
    extra_tags: {account_name: account-%[1]d, team: platform}
    regons%[1]d: [us-east-1]
    collector_configs: {regions: [us-esat-%[1]d, eu-central-1], kinds: [ec2_instanc%[1]d]}
`, i)
	}
	return text.String()
}
