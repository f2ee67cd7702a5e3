package servicestest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/record"
)

// endpointKey is a region in the SDK's endpoint data, without a variant such as FIPS.
var endpointKey = regexp.MustCompile(`endpoints\.EndpointKey\{\s*Region: "([^"]+)",\s*\}`)

// regionsOf returns the regions of a service in the endpoint data of its client, which the SDK does not export.
func regionsOf(t *testing.T, client string) map[string]bool {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+client).Output()
	if err != nil {
		t.Fatalf("%s: %v; add the client to go.mod", client, err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "internal/endpoints/endpoints.go"))
	if err != nil {
		t.Fatal(err)
	}
	regions := map[string]bool{}
	for _, m := range endpointKey.FindAllSubmatch(data, -1) {
		regions[string(m[1])] = true
	}
	return regions
}

// The rows name the regions that have EC2 and, by the SDK's data, do not have the service.
func TestAbsentRegionsAreTheSDKs(t *testing.T) {
	ec2 := regionsOf(t, "ec2")
	for _, s := range collectors.Services {
		if s.Global {
			continue
		}
		have := regionsOf(t, s.IAMPrefix)
		if !have["us-gov-west-1"] || !have["cn-north-1"] || len(have) < 30 {
			t.Errorf("%s: only %d regions were found", s.Name, len(have))
		}
		var absent []string
		for _, p := range record.Partitions {
			for _, region := range p.Regions {
				if ec2[region] && !have[region] {
					absent = append(absent, region)
				}
			}
		}
		slices.Sort(absent)
		if !slices.Equal(absent, s.Absent) {
			t.Errorf("%s: want Absent: %q, got %q", s.Name, absent, s.Absent)
		}
	}
}
