package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestProblemsAs(t *testing.T) {
	_, err := Parse([]byte("acounts: []\n"), "c.yaml", testRegistry())
	var all Problems
	var one Problem
	if !errors.As(fmt.Errorf("load: %w", err), &all) || !errors.As(err, &one) {
		t.Fatalf("%T is not Problems", err)
	}
	checkEqual(t, "problems", len(all), 2)
	checkEqual(t, "first", one, Problem{File: "c.yaml", Line: 1, Column: 1, Path: "", Text: "no account is configured",
		Remedy: "add accounts: with a block for each; a block with only extra_tags signs in with the instance's role"})
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "\n\n", "---\n", "# nothing", "null", "~"} {
		_, err := Parse([]byte(text), "c.yaml", testRegistry())
		if err == nil || err.Error() != "c.yaml: the file is empty; start from config.example.yaml" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNotUTF8(t *testing.T) {
	_, err := Parse([]byte("accounts:\n  - name: gr\xfcn\n"), "c.yaml", testRegistry())
	if err == nil || !strings.HasPrefix(err.Error(), "c.yaml:2: is not valid YAML: ") {
		t.Errorf("got %v", err)
	}
}

// The single block of account: is checked like a block of accounts:.
func TestSingleBlockIsChecked(t *testing.T) {
	_, err := Parse([]byte("account:\n  ak_id: AKIAIOSFODNN7EXAMPLE\n  regions: [us-east-1]\n"), "", testRegistry())
	want := "2: account.ak_id: ak_id is set without ak_secret; add ak_secret, or remove ak_id\n" +
		`3: account.regions: unknown key; did you mean "collector_configs.regions"?`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// An option with a type that the decoder does not support is a mistake in the program. It is reported like any other.
func TestUnsupportedOption(t *testing.T) {
	k := testRegistry()
	k.Outputs["odd"] = func() any {
		return &struct {
			Any any `yaml:"any"`
		}{}
	}
	_, err := Parse([]byte("accounts: [{}]\noutputs: [{type: odd, any: thing}]"), "", k)
	if err == nil || err.Error() != "2: outputs[0].any: this build cannot read a interface {}" {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "../config.example.yaml"} {
		for _, b := range readFiles(f, pattern) {
			f.Add(b)
		}
	}
	for _, text := range hostileFiles {
		f.Add([]byte(text(200)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := load(b, "c.yaml")
		if err != nil {
			// A secret that the fuzzer cut is another text. A whole one must not be shown, whatever its place.
			for _, s := range []string{exampleSecret, plantedValue, plantedFile} {
				if strings.Contains(err.Error(), s) && (s == exampleSecret || !strings.Contains(string(b), s)) {
					t.Errorf("the error shows %q:\n%v", s, err)
				}
			}
			return
		}
		names := map[string]bool{}
		for _, b := range file.Accounts {
			a := b
			if a.Name == "" || names[a.Name] {
				t.Errorf("the name %q is not unique", a.Name)
			}
			names[a.Name] = true
			if a.AKID == "" != a.AKSecret.IsZero() {
				t.Errorf("half a key pair: %+v", a)
			}
			if _, err := ParseSchedule(a.Schedule, nil); err != nil {
				t.Errorf("%q: %v", a.Schedule, err)
			}
		}
		if len(names)+len(file.Organizations) == 0 {
			t.Error("no account, and no organization")
		}
	})
}

// BenchmarkLoad500 loads 500 accounts. The target is less than 100 ms.
func BenchmarkLoad500(b *testing.B) {
	var text strings.Builder
	text.WriteString("collector_configs: {regions: [us-east-1, 'eu-*'], kinds: ['ec2_*'], " +
		"schedules: {ec2_image: '@daily'}}\naccounts:\n")
	for i := range 500 {
		fmt.Fprintf(&text, `  - name: account-%d
    ak_id: ${env:AK_ID}
    ak_secret: ${file:/run/secrets/ak}
    assume_role_arn: arn:aws:iam::%012d:role/collector-readonly
    role_session_name: collector
    external_id: word-%d
    schedule: "%d * * * *"
    extra_tags: {account_name: account-%d, team: platform, tier: gold}
    collector_configs:
      regions: [us-east-1, eu-central-1]
`, i, i, i, i%60, i)
	}
	in := []byte(text.String())
	k := testRegistry()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		f, err := Parse(in, "c.yaml", k)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Resolve(testEnv, testReadFile); err != nil {
			b.Fatal(err)
		}
	}
}
