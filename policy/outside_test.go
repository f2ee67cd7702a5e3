package policy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Checks of the same files by other tools: cfn-lint, Terraform with AWS's provider, and moto's IAM. A test of a tool
// that is not installed logs that it was skipped. The other tests of this package need only Go.

func requireTool(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED, NOT PASSED: %s is not installed (%s)", name, install)
	}
	return path
}

// run runs a command in a folder, with an environment without this machine's AWS settings.
func run(t *testing.T, dir string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	cmd.Env = append(os.Environ(),
		"AWS_EC2_METADATA_DISABLED=true",
		"CHECKPOINT_DISABLE=1",
		"TF_CLI_CONFIG_FILE="+os.DevNull,
		"TF_IN_AUTOMATION=1",
		"AWS_CONFIG_FILE="+os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
		"AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
		"AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCFNLint(t *testing.T) {
	lint := requireTool(t, "cfn-lint", "pip install cfn-lint")
	dir := t.TempDir()
	for name, a := range map[string]Access{
		"plain": {Partition: "aws", Role: DefaultRole},
		"all": {
			Partition: "aws-cn", Role: DefaultRole, Home: home, Caller: "user/alice", ExternalID: "a-1:b/c@d", MFA: true,
		},
	} {
		// The linter checks that actions exist.
		text, err := CloudFormation(a, ListingPolicies([]string{"ec2:DescribeVpcs", "rds:DescribeDBInstances"}))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".json")
		write(t, path, text)
		if out, err := run(t, dir, lint, "--regions", "us-east-1", "--include-checks", "I", "--", path); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		write(t, path, bytes.Replace(text, []byte(`"Effect": "Allow"`), []byte(`"Effect": "allow"`), 1))
		if out, err := run(t, dir, lint, "--", path); err == nil {
			t.Errorf("cfn-lint accepts a bad template: %s", out)
		}
	}
}

// terraform accepts the module and its formatting. If TERRAFORM_PLUGIN_DIR names a folder with AWS's provider, as made
// by "terraform providers mirror", the test also validates the module and applies it to moto.
func TestTerraformCLI(t *testing.T) {
	terraform := requireTool(t, "terraform", "its own site")
	a := Access{Partition: "aws", Role: DefaultRole, Home: home, ExternalID: "a-1:b/c@d", MFA: true}
	text, err := Terraform(a, ListingPolicies(severalServices))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.tf"), text)
	if out, err := run(t, dir, terraform, "fmt", "-check", "-diff"); err != nil {
		t.Errorf("terraform fmt: %v\n%s", err, out)
	}
	plugins := os.Getenv("TERRAFORM_PLUGIN_DIR")
	if plugins == "" {
		t.Skip("SKIPPED, NOT PASSED, beyond its format: TERRAFORM_PLUGIN_DIR names no folder with the provider hashicorp/aws")
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run(t, dir, terraform, args...)
		if err != nil {
			t.Fatalf("terraform %s: %v\n%s", args[0], err, out)
		}
		return out
	}
	must("init", "-no-color", "-plugin-dir="+plugins)
	must("validate", "-no-color")

	iam := startMoto(t)
	write(t, filepath.Join(dir, "provider.tf"), fmt.Appendf(nil, `provider "aws" {
  skip_requesting_account_id = true
  endpoints {
    iam = %[1]q
    sts = %[1]q
  }
}
`, iam.url))
	if out := must("apply", "-no-color", "-auto-approve"); !strings.Contains(out, "role/"+DefaultRole) {
		t.Errorf("no role: %s", out)
	}
	got, status := iam.call("GetRole", url.Values{"RoleName": {DefaultRole}})
	if status != 200 || !strings.Contains(got, url.QueryEscape("sts:ExternalId")) {
		t.Errorf("%d: %s", status, got)
	}
	// A difference makes plan exit with 2.
	if out := must("plan", "-no-color", "-detailed-exitcode"); !strings.Contains(out, "No changes") {
		t.Errorf("a second apply would change something: %s", out)
	}
}

// moto's IAM has its own policy validator, with IAM's messages.
func TestMotoAcceptsDocuments(t *testing.T) {
	iam := startMoto(t)
	n := 0
	create := func(d []byte, form string) (string, int) {
		n++
		if form == trust {
			return iam.call("CreateRole", url.Values{"RoleName": {fmt.Sprint("r", n)}, "AssumeRolePolicyDocument": {string(d)}})
		}
		return iam.call("CreatePolicy", url.Values{"PolicyName": {fmt.Sprint("p", n)}, "PolicyDocument": {string(d)}})
	}
	for _, a := range accessVariants() {
		if a.Partition != "aws" && a.Partition != "aws-cn" && a.Partition != "aws-us-gov" {
			continue
		}
		for form, docs := range map[string][]Document{
			trust:    {a.TrustPolicy(), a.InstanceTrustPolicy()},
			identity: append(documentsOf(ListingPolicies(someActions(400))), a.AssumePolicy(), a.SelfMFAPolicy()),
		} {
			for _, d := range docs {
				if got, status := create(d.JSON(), form); status != 200 {
					t.Errorf("%d: %s\n%s", status, got, d.JSON())
				}
			}
		}
	}
	for _, change := range []struct{ old, new string }{
		{`"Allow"`, `"allow"`}, {`2012-10-17`, `2013-10-17`}, {`"Resource"`, `"Resources"`},
	} {
		bad := bytes.Replace(ListingPolicies(nil)[0].Document.JSON(), []byte(change.old), []byte(change.new), 1)
		if got, status := create(bad, identity); status == 200 {
			t.Errorf("moto accepts %s: %s", change.new, got)
		}
	}
}

// A moto is a moto_server, called with IAM's protocol.
type moto struct {
	t      *testing.T
	url    string
	client *http.Client
}

func startMoto(t *testing.T) *moto {
	t.Helper()
	path := requireTool(t, "moto_server", "pip install 'moto[server]'")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-p", fmt.Sprint(port))
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	m := &moto{t, fmt.Sprintf("http://127.0.0.1:%d", port), client}
	for deadline := time.Now().Add(time.Minute); ; {
		if resp, err := m.client.Get(m.url + "/moto-api/data.json"); err == nil {
			resp.Body.Close()
			return m
		} else if time.Now().After(deadline) {
			t.Fatalf("moto_server does not answer: %v", err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

func (m *moto) call(action string, form url.Values) (body string, status int) {
	m.t.Helper()
	form.Set("Action", action)
	form.Set("Version", "2010-05-08")
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.url, strings.NewReader(form.Encode()))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// moto finds the service by the credential scope; it does not check signatures.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+
		"Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none")
	resp, err := m.client.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b), resp.StatusCode
}
