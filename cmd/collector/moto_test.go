package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A moto is a third party's AWS: what it serves, the AWS CLI reads too, so our records can be held against the CLI's.
type moto struct {
	t   *testing.T
	url string
}

func startMoto(t *testing.T) *moto {
	t.Helper()
	for _, tool := range []string{"moto_server", "aws"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED, NOT PASSED: %s is not installed (pip install 'moto[server]' awscli)", tool)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "moto_server", "-p", fmt.Sprint(port))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("moto_server said:\n%s", said.Bytes()[max(0, said.Len()-4000):])
		}
	})
	m := &moto{t, fmt.Sprintf("http://127.0.0.1:%d", port)}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(time.Minute); ; {
		if resp, err := client.Get(m.url + "/moto-api/data.json"); err == nil {
			resp.Body.Close()
			return m
		} else if time.Now().After(deadline) {
			t.Fatalf("moto_server does not answer: %v", err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// A caller is somebody's keys, as the CLI takes them from the environment.
type caller struct{ key, secret, token string }

// aws runs the AWS CLI and decodes what it prints.
func (m *moto) aws(who caller, region string, args ...string) map[string]any {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "aws", append([]string{"--endpoint-url", m.url, "--region", region, "--output", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+who.key, "AWS_SECRET_ACCESS_KEY="+who.secret, "AWS_SESSION_TOKEN="+who.token,
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	var v map[string]any
	if len(bytes.TrimSpace(out)) > 0 {
		if err := json.Unmarshal(out, &v); err != nil {
			m.t.Fatalf("aws %s: %v", strings.Join(args, " "), err)
		}
	}
	return v
}

func (m *moto) assume(who caller, role string) caller {
	m.t.Helper()
	c := m.aws(who, "us-east-1", "sts", "assume-role", "--role-arn", role, "--role-session-name", "test")["Credentials"].(map[string]any)
	return caller{c["AccessKeyId"].(string), c["SecretAccessKey"].(string), c["SessionToken"].(string)}
}

// instances is what the CLI prints, an instance each, with what stands beside it in its reservation.
func (m *moto) instances(who caller, region string) map[string]any {
	m.t.Helper()
	byID := map[string]any{}
	for _, r := range m.aws(who, region, "ec2", "describe-instances")["Reservations"].([]any) {
		reservation := r.(map[string]any)
		list := reservation["Instances"].([]any)
		delete(reservation, "Instances")
		for _, i := range list {
			instance := i.(map[string]any)
			instance["Reservation"] = reservation
			byID[instance["InstanceId"].(string)] = instance
		}
	}
	return byID
}

// instants writes every string that is an RFC 3339 time the same way: the CLI and EC2 differ in zone and fraction.
func instants(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = instants(v[k])
		}
	case []any:
		for i := range v {
			v[i] = instants(v[i])
		}
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	return v
}

// Three accounts, entered by a key, by a key and a role, and by a chain of roles; two regions each. The records are the
// CLI's, in content and number, and no account shows another's.
func TestMotoRecordsEqualTheCLIs(t *testing.T) {
	m := startMoto(t)
	root := caller{"testing", "testing", ""}
	m.aws(root, "us-east-1", "iam", "create-user", "--user-name", "collector")
	k := m.aws(root, "us-east-1", "iam", "create-access-key", "--user-name", "collector")["AccessKey"].(map[string]any)
	user := caller{k["AccessKeyId"].(string), k["SecretAccessKey"].(string), ""}
	const (
		second = "arn:aws:iam::222222222222:role/collector-readonly"
		hub    = "arn:aws:iam::444444444444:role/hub"
		third  = "arn:aws:iam::333333333333:role/collector-readonly"
	)
	regions := []string{"us-east-1", "eu-west-1"}
	accounts := map[string]caller{"first": user, "second": m.assume(user, second), "third": m.assume(m.assume(user, hub), third)}
	want := map[string]map[string]any{} // account/region → id → instance
	for name, who := range accounts {
		for i, region := range regions {
			ami := m.aws(who, region, "ec2", "describe-images", "--owners", "amazon", "--max-items", "1")["Images"].([]any)[0].(map[string]any)["ImageId"].(string)
			m.aws(who, region, "ec2", "run-instances", "--image-id", ami, "--count", fmt.Sprint(i+2), "--instance-type", "t3.micro",
				"--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value="+name+"},{Key=note,Value=\"<&> ü\"}]")
			want[name+"/"+region] = m.instances(who, region)
		}
	}

	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`
data_dir: %[1]s/data
collector_configs: {regions: [us-east-1, eu-west-1]}
accounts:
  - {name: first, ak_id: %[2]s, ak_secret: "%[3]s"}
  - {name: second, ak_id: %[2]s, ak_secret: "%[3]s", assume_role_arn: "%[4]s"}
  - {name: third, ak_id: %[2]s, ak_secret: "%[3]s", assume_roles: [{assume_role_arn: "%[5]s"}, {assume_role_arn: "%[6]s"}]}
`, dir, user.key, user.secret, second, hub, third)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"AWS_ENDPOINT_URL=" + m.url, "AWS_EC2_METADATA_DISABLED=true"}
	stdout, stderr, code := process(t, env, "run", "--once", "--config", config)
	if code != exitDone {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	got := map[string]map[string]any{}
	for line := range strings.Lines(stdout) {
		var r struct {
			ID, Account, Region string
			Data                map[string]any
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		place := r.Account + "/" + r.Region
		if got[place] == nil {
			got[place] = map[string]any{}
		}
		if got[place][r.ID] != nil {
			t.Errorf("%s twice in %s", r.ID, place)
		}
		got[place][r.ID] = r.Data
	}
	for place, w := range want {
		g := got[place]
		if len(g) != len(w) {
			t.Errorf("%s: %d records, the CLI has %d", place, len(g), len(w))
		}
		for id := range w {
			if diff := cmp.Diff(instants(w[id]), instants(g[id])); diff != "" {
				t.Errorf("%s %s (-CLI +ours):\n%s", place, id, diff)
			}
		}
		delete(got, place)
	}
	for place := range got {
		t.Errorf("records of %s, which nobody made", place)
	}
}

// process runs this test's binary as the program, in an environment of its own.
func process(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), asProgram + "=1"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
