package importers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
)

var kinds = []string{
	"ec2_address", "ec2_image", "ec2_instance", "ec2_nat_gateway", "ec2_security_group", "ec2_volume", "ec2_vpc",
	"ec2_vpc_endpoint", "ec2_vpc_endpoint_service",
}

// The secrets of the files in testdata.
var canaries = []string{
	"wJalrXUtnFEMI", "bPxRfiCYEXAMPLEKEY", "je7MtGbClwBF", "h3yCo8nvbEXAMPLEKEY", "canary-EXAMPLE", "123456",
}

// Each file of testdata gives the configuration beside it, which is valid and has no secret.
// UPDATE_GOLDEN=1 writes them.
func TestImports(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in")
	if err != nil || len(inputs) < len(Formats) {
		t.Fatalf("%d inputs, %v", len(inputs), err)
	}
	tried := map[string]bool{}
	for _, input := range inputs {
		t.Run(filepath.Base(input), func(t *testing.T) {
			text, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := strings.CutSuffix(filepath.Base(input), ".in")
			i := slices.IndexFunc(Formats, func(f Format) bool { return strings.HasPrefix(name, f.Name) })
			tried[Formats[i].Name] = true
			got, err := Formats[i].Import("FILE", text, kinds)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(input, ".in") + ".yaml"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v; got:\n%s", err, got)
			}
			for _, secret := range canaries {
				if strings.Contains(got, secret) {
					t.Errorf("it has the secret %s", secret)
				}
			}
			validate(t, []byte(got))
		})
	}
	for _, f := range Formats {
		if !tried[f.Name] {
			t.Errorf("no test of %s", f.Name)
		}
	}
}

// validate checks a configuration as collector validate does.
func validate(t *testing.T, text []byte) {
	t.Helper()
	type httpSD struct {
		Name  string `yaml:"name" doc:"a"`
		Port  int    `yaml:"port" doc:"a"`
		Where string `yaml:"where" doc:"a"`
	}
	r := config.Registry{Kinds: kinds, Outputs: map[string]func() any{"http_sd": func() any { return new(httpSD) }}}
	f, err := config.Parse(text, "made.yaml", r)
	if err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) {
		if strings.HasSuffix(name, "TOKEN_CODE") {
			return "654321", true
		}
		if name == "AWS_AK" {
			return "AKIAIOSFODNN7EXAMPLE", true
		}
		return "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", true
	}
	if err := f.Resolve(env, os.ReadFile); err != nil {
		t.Error(err)
	}
}

// Files that are something else are refused, and no error quotes them.
func TestRefused(t *testing.T) {
	const secret = "canary-EXAMPLE"
	for _, f := range Formats {
		for name, text := range map[string]string{
			"empty":     "",
			"prose":     "the secret is " + secret,
			"yaml":      "a: [" + secret + "\n\tb: {",
			"a list":    "- " + secret,
			"scalars":   "scrape_configs: " + secret + "\ndiscovery: " + secret + "\nspec: " + secret,
			"only text": "account = '''" + secret,
			"not UTF-8": "account = {'name': '" + secret + "\xff'}",
		} {
			got, err := f.Import("FILE", []byte(text), kinds)
			if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(got, secret) {
				t.Errorf("%s, %s: %v\n%s", f.Name, name, err, got)
			}
		}
	}
}

// No input makes an import hang, crash, or write what is not YAML.
func FuzzImport(f *testing.F) {
	inputs, _ := filepath.Glob("testdata/*.in")
	for _, input := range inputs {
		text, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		for i := range Formats {
			f.Add(i, text)
		}
	}
	f.Fuzz(func(t *testing.T, i int, text []byte) {
		if i < 0 || i >= len(Formats) || len(text) > 1<<14 {
			return
		}
		got, err := Formats[i].Import("FILE", text, kinds)
		if err != nil {
			return
		}
		if docs, err := documents([]byte(got)); err != nil || len(docs) != 1 {
			t.Errorf("%v\n%s", err, got)
		}
	})
}

// A file that is not such a script ends soon, whatever it has.
func TestLargeScripts(t *testing.T) {
	for _, piece := range []string{"a=[\n", "a='b'\n", "a=f(\n", "a={'b': os.environ['\n", "'a' "} {
		start := time.Now()
		_, _ = Formats[3].Import("FILE", []byte(strings.Repeat(piece, maxScript/len(piece))), kinds)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%q: %s", piece, took)
		}
	}
	if _, err := Formats[3].Import("FILE", make([]byte, maxScript+1), kinds); err == nil {
		t.Error("a script that is too long is read")
	}
}
