package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/policy"
)

// deployedPolicies returns the files of deploy/iam. UPDATE_DEPLOY=1 updates them. The policies that `policy` prints one
// after the other are a file each.
func deployedPolicies(t *testing.T) map[string]string {
	files := map[string]string{
		"mfa.json":                 runOutput(t, "policy", "mfa"),
		"role.cloudformation.json": runOutput(t, "policy", "--kind", "*", "--format", "cloudformation"),
		"terraform/main.tf":        runOutput(t, "policy", "--kind", "*", "--format", "terraform"),
	}
	printed := ""
	for _, p := range policy.ListingPolicies(account.Actions(configfile.KnownNames().Kinds)) {
		text := string(p.Document.JSON())
		files[strings.TrimPrefix(p.Name, "collector-")+".json"] = text
		printed += text
	}
	if got := runOutput(t, "policy", "--kind", "*"); got != printed {
		t.Errorf("policy prints %d characters, want %d", len(got), len(printed))
	}
	return files
}

const deployIAM = "../../deploy/iam"

// runOutput runs the program in this process and returns what it prints.
func runOutput(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), args, func(string) string { return "" }, &stdout, &stderr); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, stderr.String())
	}
	return stdout.String()
}

// The files in deploy/iam equal what the program prints, and have the action of every kind once.
func TestDeployedPolicies(t *testing.T) {
	list := map[string]int{}
	for name, text := range deployedPolicies(t) {
		path := filepath.Join(deployIAM, filepath.FromSlash(name))
		if os.Getenv("UPDATE_DEPLOY") != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if mustRead(t, path) != text {
			t.Errorf("%s is not what `collector policy` prints: go generate ./cmd/collector", path)
		}
		switch {
		case strings.HasPrefix(name, "list"):
			countActions(text, list)
		case name != "mfa.json":
			actions := map[string]int{}
			countActions(text, actions)
			checkEveryAction(t, name, actions)
		}
	}
	checkEveryAction(t, "list*.json", list)
}

// countActions adds the actions of a text to a count: of the services of kinds, so not sts:AssumeRole.
func countActions(text string, actions map[string]int) {
	var prefixes []string
	for i := range collectors.Services {
		prefixes = append(prefixes, collectors.Services[i].IAMPrefix)
	}
	form := regexp.MustCompile(`"((?:` + strings.Join(prefixes, "|") + `):\w+)"`)
	for _, w := range form.FindAllStringSubmatch(text, -1) {
		actions[w[1]]++
	}
}

func checkEveryAction(t *testing.T, name string, actions map[string]int) {
	t.Helper()
	want := map[string]int{"ec2:DescribeRegions": 1}
	for _, action := range account.Actions(configfile.KnownNames().Kinds) {
		want[action] = 1
	}
	if !maps.Equal(actions, want) {
		t.Errorf("%s: %d actions, want %d, each once", name, len(actions), len(want))
	}
}

// Each group of services fits into one managed policy, so no policy is split and a service that is added to a
// configuration moves no other. If a group no longer fits, give its next service another group: policy.groupOf.
func TestAllKindsFitTheirPolicies(t *testing.T) {
	known := []string{"collector-list", "list-databases", "list-services"}
	for _, p := range policy.ListingPolicies(account.Actions(configfile.KnownNames().Kinds)) {
		t.Logf("%s: %d of %d characters", p.Name, p.Document.Size(), policy.ManagedLimit)
		if !slices.Contains(known, p.Name) {
			t.Errorf("policy %s", p.Name)
		}
	}
}

// newerThanCFNLint has actions that AWS added after the list of cfn-lint 1.51 was made.
var newerThanCFNLint = []string{
	"describeaccountvpcencryptioncontrol", "describeapplicationstatus", "describeapplicationstatuscheckassociations",
	"describeapplicationstatuschecks", "describecapacityreservationcancellationquotes",
	"describecapacityreservationdatechangequotes", "describedbcapacityreservations",
	"describeipaminternetregistryassociations", "describeipampoolallocations",
}

// cfn-lint knows every action of AWS, so it finds a kind whose action differs from the name of its operation.
func TestDeployedTemplateByCFNLint(t *testing.T) {
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("SKIPPED, NOT PASSED: cfn-lint is not installed (pip install cfn-lint)")
	}
	template := filepath.Join(deployIAM, "role.cloudformation.json")
	cmd := exec.CommandContext(t.Context(), lint, "--format", "json", "--regions", "us-east-1", "--", template)
	out, err := cmd.Output()
	var found []struct {
		Message string
		Rule    struct {
			ID string `json:"Id"`
		}
	}
	if jsonErr := json.Unmarshal(out, &found); jsonErr != nil {
		t.Fatalf("%v: %v: %s", err, jsonErr, out)
	}
	for _, f := range found {
		action, _, _ := strings.Cut(strings.TrimPrefix(f.Message, "'"), "'")
		if f.Rule.ID != "W3037" || !slices.Contains(newerThanCFNLint, action) {
			t.Errorf("%s: %.300s", f.Rule.ID, f.Message)
		}
	}
}
