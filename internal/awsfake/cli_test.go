package awsfake

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The AWS CLI (botocore) works against a server on loopback.
func TestAWSCLI(t *testing.T) {
	cli, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("SKIPPED, NOT PASSED: no `aws` on PATH; this AWS is not tested with the CLI")
	}
	a := New(Options{})
	c := a.AddAccount("111111111111", "aws")
	k := c.AddUser("alice").NewKey()
	c.AddInstances("us-east-1", 25)
	s, err := a.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	run := func(into any, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), cli, args...)
		env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
		cmd.Env = append(
			env, "AWS_ACCESS_KEY_ID="+k.ID, "AWS_SECRET_ACCESS_KEY="+k.Secret, "AWS_ENDPOINT_URL="+s.URL,
			"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null",
			"AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1", "NO_PROXY=127.0.0.1",
		)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err == nil && into != nil {
			if err := json.Unmarshal(out, into); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
		return stderr.String()
	}
	var got struct {
		Reservations []struct {
			Instances []struct {
				InstanceID string `json:"InstanceId"`
				Placement  struct{ AvailabilityZone string }
			}
		}
	}
	if stderr := run(&got, "ec2", "describe-instances", "--page-size", "5", "--output", "json"); stderr != "" {
		t.Fatal(stderr)
	}
	ids := map[string]bool{}
	for _, r := range got.Reservations {
		for _, i := range r.Instances {
			ids[i.InstanceID] = strings.HasPrefix(i.Placement.AvailabilityZone, "us-east-1")
		}
	}
	if len(ids) != 25 || len(a.Calls(func(c *Call) bool { return c.NextToken != "" })) < 4 {
		t.Errorf("%d instances in %d calls", len(ids), a.Stats().Calls)
	}
	var regions struct {
		Regions []struct{ RegionName, OptInStatus string }
	}
	if stderr := run(&regions, "ec2", "describe-regions", "--all-regions", "--output", "json"); stderr != "" ||
		len(regions.Regions) != 34 {
		t.Errorf("%d regions, %s", len(regions.Regions), stderr)
	}
	stderr := run(nil, "ec2", "describe-instances", "--region", "me-south-1")
	want := "(AuthFailure) when calling the DescribeInstances operation: " +
		"AWS was not able to validate the provided access credentials"
	if !strings.Contains(stderr, want) {
		t.Error(stderr)
	}
}
