package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTablesAreOfThisSDK regenerates the tables and compares them. Run go generate after an upgrade of the SDK.
func TestTablesAreOfThisSDK(t *testing.T) {
	dir, version, err := locate()
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(dir, version)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../tables.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("tables.go is not what gen makes of service/ec2 %s; hint: go generate ./collectors/internal/ec2xml", version)
	}
	if len(got) > 300<<10 {
		t.Errorf("the tables are %d bytes", len(got))
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
	cmd := exec.Command(python, "testdata/names.py", "../tables.go")
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
	if r.Operations < 150 || r.Members < 3000 {
		t.Errorf("only %d operations with %d members were compared", r.Operations, r.Members)
	}
}
