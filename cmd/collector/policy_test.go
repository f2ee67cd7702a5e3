package main

import (
	"bytes"
	"encoding/json"
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

// deployedPolicies has the files of deploy/iam and the arguments that print each. UPDATE_DEPLOY=1 updates them.
var deployedPolicies = map[string][]string{
	"list.json": {"policy", "--kind", "*"}, "mfa.json": {"policy", "mfa"},
	"role.cloudformation.json": {"policy", "--kind", "*", "--format", "cloudformation"},
	"terraform/main.tf":        {"policy", "--kind", "*", "--format", "terraform"},
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

// The files in deploy/iam equal what the program prints, and have the action of every kind.
func TestDeployedPolicies(t *testing.T) {
	for name, args := range deployedPolicies {
		path := filepath.Join(deployIAM, filepath.FromSlash(name))
		got := runOutput(t, args...)
		if os.Getenv("UPDATE_DEPLOY") != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if mustRead(t, path) != got {
			t.Errorf("%s is not what `collector %s` prints: go generate ./cmd/collector", path, strings.Join(args, " "))
		}
		if slices.Contains(args, "mfa") {
			continue
		}
		var words []string
		for _, w := range regexp.MustCompile(`"((?:autoscaling|ec2):Describe\w+)"`).FindAllStringSubmatch(got, -1) {
			words = append(words, w[1])
		}
		want := []string{"ec2:DescribeRegions"}
		for i := range collectors.Kinds {
			want = append(want, collectors.Kinds[i].Action())
		}
		slices.Sort(want)
		if want = slices.Compact(want); !slices.Equal(words, want) {
			t.Errorf("%s: %d actions, want %d, sorted, each once", name, len(words), len(want))
		}
	}
}

// All kinds fit into one managed policy, and into the limits of a role. When they no longer do, the templates and the
// help of `policy` must change.
func TestAllKindsFitOnePolicy(t *testing.T) {
	docs := policy.ListingPolicies(account.Actions(configfile.KnownNames().Kinds))
	if len(docs) != 1 {
		t.Errorf("%d policies", len(docs))
	}
	t.Logf("%d of %d characters", docs[0].Size(), policy.ManagedLimit)
}

// newerThanCFNLint has actions that AWS added after the list of cfn-lint 1.51 was made.
var newerThanCFNLint = []string{
	"describeaccountvpcencryptioncontrol", "describeapplicationstatus", "describeapplicationstatuscheckassociations",
	"describeapplicationstatuschecks", "describecapacityreservationcancellationquotes",
	"describecapacityreservationdatechangequotes",
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
