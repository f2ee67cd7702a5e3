package collectors

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
)

// The SDK does not export its partitions, so record has a copy. This test compares the two.
func TestPartitionsAreTheSDKs(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/endpoints/awsrulesfn/partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sdk struct {
		Partitions []struct {
			ID      string
			Outputs struct{ DNSSuffix, ImplicitGlobalRegion string }
			Regex   string                     `json:"regionRegex"`
			Regions map[string]json.RawMessage // includes "aws-global" and the like
		}
	}
	if err := json.Unmarshal(b, &sdk); err != nil {
		t.Fatal(err)
	}
	if len(sdk.Partitions) != len(record.Partitions) {
		t.Errorf("the SDK has %d partitions, record %d", len(sdk.Partitions), len(record.Partitions))
	}
	for _, s := range sdk.Partitions {
		p, ok := record.PartitionNamed(s.ID)
		if !ok {
			t.Errorf("record has no %s", s.ID)
			continue
		}
		form := regexp.MustCompile(s.Regex)
		real := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Regions)), func(r string) bool { return !form.MatchString(r) })
		if !slices.Equal(p.Regions, real) {
			t.Errorf("%s: regions %v, the SDK's are %v", p.ID, p.Regions, real)
		}
		if p.DNSSuffix != s.Outputs.DNSSuffix {
			t.Errorf("%s: suffix %s, the SDK's is %s", p.ID, p.DNSSuffix, s.Outputs.DNSSuffix)
		}
		// Unknown regions belong to the partition that the SDK chooses.
		for _, r := range append(
			real, p.DefaultRegion,
			"us-next-1", "eu-next-12", "cn-next-1", "us-gov-next-1", "us-iso-next-1", "us-isob-next-1",
			"eu-isoe-next-1", "us-isof-next-1", "eusc-de-next-1", "bogus", "us-east-1a", "xx-east-1", "mx-next-1",
		) {
			if q, ok := record.PartitionOf(r); form.MatchString(r) != (ok && q.ID == p.ID) {
				t.Errorf("%s: the SDK says %v, record %q", r, form.MatchString(r), q.ID)
			}
		}
	}
}

// Since 2019, AWS adds only regions that an account must opt in to.
func TestRegionsOfEveryAccount(t *testing.T) {
	for _, p := range record.Partitions {
		always := slices.DeleteFunc(slices.Clone(p.Regions), p.IsOptIn)
		want := len(p.Regions)
		if p.ID == "aws" {
			want = 17
		}
		if len(always) != want {
			t.Errorf("%s: %d of %d regions are enabled by default, want %d: %v", p.ID, len(always), len(p.Regions), want, always)
		}
		if p.IsOptIn(p.DefaultRegion) {
			t.Errorf("%s: the default region %s must be opted in to", p.ID, p.DefaultRegion)
		}
	}
}
