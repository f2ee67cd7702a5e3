package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// services are the services with tables, and the folder of the module that requires the SDK's client of each.
var services = map[string]string{
	"autoscaling": inServicesTest, "ec2": ".", "elasticache": inServicesTest, "elasticloadbalancing": inServicesTest,
	"elasticloadbalancingv2": inServicesTest, "rds": inServicesTest, "redshift": inServicesTest,
}

const inServicesTest = "../../../servicestest"

// TestTablesAreOfThisSDK regenerates the tables and compares them. Run go generate after an upgrade of the SDK.
func TestTablesAreOfThisSDK(t *testing.T) {
	for service, in := range services {
		t.Run(service, func(t *testing.T) {
			dir, version, err := locate(service, in)
			if errors.Is(err, errNotDownloaded) && service != "ec2" {
				t.Skipf("SKIPPED, NOT PASSED: the tables are not held against the SDK's source: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := generate(service, dir, version)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile("../tables_" + service + ".go")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("the tables are not what gen makes of service/%s %s; hint: go generate ./collectors/internal/awsxml",
					service, version)
			}
			if len(got) > 300<<10 {
				t.Errorf("the tables are %d bytes", len(got))
			}
		})
	}
}

// TestNamesAgainstBotocore compares the tables with the AWS CLI's model, which gen does not use: every member, its
// element and its type. It needs Python with botocore, else it is skipped.
func TestNamesAgainstBotocore(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED, NOT PASSED: no python3: the names are not held against the AWS CLI's")
	}
	if err := exec.Command(python, "-c", "import botocore").Run(); err != nil {
		t.Skip("SKIPPED, NOT PASSED: no botocore: the names are not held against the AWS CLI's")
	}
	for service, c := range map[string]struct {
		ofCLI string // the CLI's name of the service
		least [2]int // operations and members
	}{
		"autoscaling":            {"autoscaling", [2]int{20, 200}},
		"ec2":                    {"ec2", [2]int{150, 3000}},
		"elasticache":            {"elasticache", [2]int{20, 200}},
		"elasticloadbalancing":   {"elb", [2]int{7, 50}},
		"elasticloadbalancingv2": {"elbv2", [2]int{15, 100}},
		"rds":                    {"rds", [2]int{45, 500}},
		"redshift":               {"redshift", [2]int{45, 300}},
	} {
		t.Run(service, func(t *testing.T) { testNames(t, python, c.ofCLI, "../tables_"+service+".go", c.least) })
	}
}

func testNames(t *testing.T, python, service, tables string, least [2]int) {
	cmd := exec.Command(python, "testdata/names.py", service, tables)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Operations, Members int
		Wrong               []string
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Wrong) > 0 {
		t.Errorf("the AWS CLI has otherwise:\n%s", strings.Join(r.Wrong, "\n"))
	}
	if r.Operations < least[0] || r.Members < least[1] {
		t.Errorf("only %d operations with %d members were compared", r.Operations, r.Members)
	}
}
