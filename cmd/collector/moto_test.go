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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/aws-collector/collector/collectors"
)

// moto is a fake AWS by others. The AWS CLI reads it too, so our records can be compared with the CLI's output.
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
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &output, &output, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("output of moto_server:\n%s", output.Bytes()[max(0, output.Len()-4000):])
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

// credentials are passed to the CLI in the environment.
type credentials struct{ key, secret, token string }

func (c credentials) env() []string {
	return append(
		os.Environ(), "AWS_ACCESS_KEY_ID="+c.key, "AWS_SECRET_ACCESS_KEY="+c.secret, "AWS_SESSION_TOKEN="+c.token,
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
	)
}

// aws runs the AWS CLI and decodes what it prints.
func (m *moto) aws(creds credentials, region string, args ...string) map[string]any {
	m.t.Helper()
	cmd := exec.CommandContext(
		m.t.Context(),
		"aws",
		append([]string{"--endpoint-url", m.url, "--region", region, "--output", "json"}, args...)...)
	cmd.Env = creds.env()
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

func (m *moto) assume(creds credentials, role string) credentials {
	m.t.Helper()
	answer := m.aws(creds, "us-east-1", "sts", "assume-role", "--role-arn", role, "--role-session-name", "test")
	c := answer["Credentials"].(map[string]any)
	return credentials{c["AccessKeyId"].(string), c["SecretAccessKey"].(string), c["SessionToken"].(string)}
}

// image returns the id of an image that instances can run.
func (m *moto) image(creds credentials, region string) string {
	m.t.Helper()
	answer := m.aws(creds, region, "ec2", "describe-images", "--owners", "amazon", "--max-items", "1")
	return answer["Images"].([]any)[0].(map[string]any)["ImageId"].(string)
}

// instances returns the instances that the CLI prints, each with the fields of its reservation.
func (m *moto) instances(creds credentials, region string) map[string]any {
	m.t.Helper()
	byID := map[string]any{}
	for _, r := range m.aws(creds, region, "ec2", "describe-instances")["Reservations"].([]any) {
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

// normalizeTimes formats every RFC 3339 time alike: the CLI and EC2 differ in zone and fraction.
func normalizeTimes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = normalizeTimes(v[k])
		}
	case []any:
		for i := range v {
			v[i] = normalizeTimes(v[i])
		}
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	return v
}

// Three accounts that sign in with a key, a key and a role, and a chain of roles, with two regions each. The records
// equal the CLI's output, and no account has those of another.
func TestMotoRecordsMatchCLI(t *testing.T) {
	t.Parallel()
	m := startMoto(t)
	root := credentials{"testing", "testing", ""}
	m.aws(root, "us-east-1", "iam", "create-user", "--user-name", "collector")
	k := m.aws(root, "us-east-1", "iam", "create-access-key", "--user-name", "collector")["AccessKey"].(map[string]any)
	user := credentials{k["AccessKeyId"].(string), k["SecretAccessKey"].(string), ""}
	const (
		second = "arn:aws:iam::222222222222:role/collector-readonly"
		hub    = "arn:aws:iam::444444444444:role/hub"
		third  = "arn:aws:iam::333333333333:role/collector-readonly"
	)
	regions := []string{"us-east-1", "eu-west-1"}
	accounts := map[string]credentials{
		"first":  user,
		"second": m.assume(user, second),
		"third":  m.assume(m.assume(user, hub), third),
	}
	want := map[string]map[string]any{} // account/region → id → instance
	for name, creds := range accounts {
		for i, region := range regions {
			ami := m.image(creds, region)
			m.aws(
				creds, region, "ec2", "run-instances", "--image-id", ami, "--count", fmt.Sprint(i+2), "--instance-type",
				"t3.micro", "--tag-specifications",
				"ResourceType=instance,Tags=[{Key=Name,Value="+name+"},{Key=note,Value=\"<&> ü\"}]",
			)
			want[name+"/"+region] = m.instances(creds, region)
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
  - name: third
    ak_id: %[2]s
    ak_secret: "%[3]s"
    assume_roles: [{assume_role_arn: "%[5]s"}, {assume_role_arn: "%[6]s"}]
`, dir, user.key, user.secret, second, hub, third)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"AWS_ENDPOINT_URL=" + m.url, "AWS_EC2_METADATA_DISABLED=true"}
	stdout, stderr, code := runProcess(t, env, "run", "--once", "--config", config)
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
			if diff := cmp.Diff(normalizeTimes(w[id]), normalizeTimes(g[id])); diff != "" {
				t.Errorf("%s %s (-CLI +ours):\n%s", place, id, diff)
			}
		}
		delete(got, place)
	}
	for place := range got {
		t.Errorf("unexpected records of %s", place)
	}
}

// cliListing is the output of the AWS CLI for a kind.
type cliListing struct {
	Kind  string
	Pages []map[string]any // one for each id of the parent
	Error string
}

// listWithCLI creates a resource of each kind in moto and lists all kinds with the AWS CLI, in one process.
func (m *moto) listWithCLI(creds credentials, region string) map[string]cliListing {
	m.t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import awscli.clidriver, boto3").Run() != nil {
		m.t.Skip("SKIPPED, NOT PASSED: no python3 with awscli and boto3 in it (pip install awscli boto3)")
	}
	type tags struct { // TagsBy of a kind
		Op    string `json:"op"`
		Param string `json:"param"`
		Name  string `json:"name"`
		Items string `json:"items"`
		ID    string `json:"id"`
		Max   int    `json:"max"`
	}
	type row struct {
		Kind    string            `json:"kind"`
		Service string            `json:"service"`
		Op      string            `json:"op"`
		Params  map[string]string `json:"params"`
		Parent  string            `json:"parent"`
		ID      string            `json:"id"` // the member of the parent's items that the request names
		Items   string            `json:"items"`
		Param   string            `json:"param"`
		InData  bool              `json:"in_data"` // our data has Param as a member
		Depth   int               `json:"depth"`
		Tags    *tags             `json:"tags"`
	}
	var rows []row
	for _, k := range collectors.Kinds {
		r := row{k.Name, k.Service().Name, k.Op, k.Params, k.Parent, k.ID, k.Items, k.ParentParam, k.ParentInData,
			k.Depth(), nil}
		if by := k.TagsBy; by != nil {
			r.Tags = &tags{by.Op, by.Param, by.Name, by.Items, by.ID, by.Max}
		}
		rows = append(rows, r)
	}
	in, err := json.Marshal(rows)
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.CommandContext(m.t.Context(), python, "testdata/moto/cli.py", m.url, region)
	cmd.Env = append(creds.env(), "AWS_MAX_ATTEMPTS=1", "PYTHONIOENCODING=utf-8")
	cmd.Stdin = bytes.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		m.t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	if stderr.Len() > 0 {
		m.t.Logf("%s", stderr.Bytes())
	}
	all := map[string]cliListing{}
	for line := range bytes.Lines(stdout.Bytes()) {
		var l cliListing
		if err := json.Unmarshal(line, &l); err != nil {
			m.t.Fatalf("%v in %s", err, line)
		}
		all[l.Kind] = l
	}
	return all
}

// items returns the resources of a kind in the CLI's output, each with the fields extra it, as our data has them.
func items(t *testing.T, k *collectors.Kind, page map[string]any) []any {
	t.Helper()
	list := func(v any) []any {
		switch v := v.(type) {
		case nil:
			return nil
		case []any:
			return v
		}
		return []any{v}
	}
	group, inner, grouped := strings.Cut(k.Items, ".")
	if k.Items == "" { // the response itself
		return []any{page}
	}
	if !grouped {
		all, extra := list(page[k.Items]), map[string]any{}
		for name, v := range page {
			switch v.(type) {
			case string, float64, bool:
				extra[name] = v
			}
		}
		for _, i := range all {
			if len(extra) > 0 {
				i.(map[string]any)["Answer"] = extra
			}
		}
		return all
	}
	var all []any
	for _, g := range list(page[group]) {
		around := g.(map[string]any)
		in := list(around[inner])
		delete(around, inner)
		for _, i := range in {
			i.(map[string]any)[strings.TrimSuffix(group, "s")] = around
		}
		all = append(all, in...)
	}
	return all
}

// motoFaults are kinds whose responses of moto are not those of AWS, and what is wrong with them.
var motoFaults = map[string]string{
	"rds_blue_green_deployment":     "status 500 for a request with MaxRecords",
	"rds_instance_automated_backup": "no DbiResourceId",
}

// For a resource of every kind that moto supports, data equals the output of the AWS CLI, member by member. If the CLI
// cannot list a kind, our target is not ok.
func TestMotoKindsMatchCLI(t *testing.T) {
	t.Parallel()
	m := startMoto(t)
	const region = "us-east-1"
	creds := credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""}
	cli := m.listWithCLI(creds, region)

	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`
data_dir: %s/data
collector_configs: {regions: [%s], kinds: ["*"], sensitive: clear}
limits: {attempts: 1}
accounts: [{name: all, ak_id: %s, ak_secret: "%s"}]
outputs: [{type: stdout, ends: true}]
`, dir, region, creds.key, creds.secret)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, _ := runProcess(
		t, []string{"AWS_ENDPOINT_URL=" + m.url, "AWS_EC2_METADATA_DISABLED=true"}, "run", "--once", "--config",
		config,
	)
	got, state := map[string][]any{}, map[string]string{}
	for line := range strings.Lines(stdout) {
		var r struct {
			Kind, Target, State string
			Data                any
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if r.Kind == "_target" {
			state[r.Target] = r.State
			continue
		}
		got[r.Kind] = append(got[r.Kind], r.Data)
	}

	kinds, records := 0, 0
	var empty []string
	for i := range collectors.Kinds {
		k := &collectors.Kinds[i]
		l, ok := cli[k.Name]
		switch {
		case !ok:
			t.Errorf("%s: the CLI was not asked", k.Name)
		case motoFaults[k.Name] != "":
			if state[k.Name] == "ok" {
				t.Errorf("%s: moto works now; remove it from motoFaults", k.Name)
			}
		case l.Error != "":
			if state[k.Name] == "ok" && len(got[k.Name]) > 0 {
				t.Errorf("%s: %d records, but the CLI prints %s", k.Name, len(got[k.Name]), l.Error)
			}
		case state[k.Name] != "ok":
			t.Errorf("%s is %q, and the CLI lists it", k.Name, state[k.Name])
		default:
			var want []any
			for _, page := range l.Pages {
				want = append(want, items(t, k, page)...)
			}
			if len(want) == 0 && len(got[k.Name]) == 0 {
				empty = append(empty, k.Name)
				continue
			}
			kinds, records = kinds+1, records+len(want)
			schema, err := k.DataSchema()
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range got[k.Name] {
				if err := validateSchema(schema, data); err != nil {
					t.Errorf("%s: %v", k.Name, err)
				}
			}
			if diff := cmp.Diff(sortedByID(k, want), sortedByID(k, got[k.Name])); diff != "" {
				t.Errorf("%s (-CLI +ours):\n%s", k.Name, diff)
			}
		}
	}
	t.Logf("%d kinds with %d records were compared; moto has nothing of %s", kinds, records, strings.Join(empty, " "))
	for name, least := range map[string]int{
		"autoscaling_group": 2, "autoscaling_instance": 2, "autoscaling_lifecycle_hook": 1,
		"cloudformation_export": 1, "cloudformation_stack": 1, "cloudformation_stack_resource": 2, "elasticache_cluster": 1,
		"elb_load_balancer": 1, "elb_instance_health": 1, "elbv2_load_balancer": 1, "elbv2_listener": 1, "elbv2_rule": 1,
		"elbv2_target_group": 1, "elbv2_target_health": 1,
		"iam_access_key": 1, "iam_account_summary": 1, "iam_group": 1, "iam_instance_profile": 1, "iam_policy": 1,
		"iam_role": 1, "iam_user": 1,
		"rds_cluster": 1, "rds_instance": 25, "rds_snapshot": 1, "redshift_cluster": 1,
	} {
		if len(got[name]) < least {
			t.Errorf("%s: only %d records were compared", name, len(got[name]))
		}
	}
	t.Run("a scaling group behind load balancers", func(t *testing.T) { m.testScalingGroup(t, creds, region) })
	if kinds < 45 || records < 500 || t.Failed() {
		t.Errorf("%d kinds, %d records were compared; want 45 and 500 at least\n%s", kinds, records, stderr)
	}
}

// validateSchema checks a value against a JSON Schema.
func validateSchema(schema []byte, v any) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("data.json", doc); err != nil {
		return err
	}
	s, err := c.Compile("data.json")
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// sortedByID sorts resources by id and normalizes their times.
func sortedByID(k *collectors.Kind, list []any) []any {
	key := func(v any) string {
		o, ok := v.(map[string]any)
		if !ok {
			return fmt.Sprint(v)
		}
		var parts []string
		for _, path := range strings.Split(k.ID, "/") {
			var at any = o
			for member := range strings.SplitSeq(path, ".") {
				in, _ := at.(map[string]any)
				at = in[member]
			}
			parts = append(parts, fmt.Sprint(at))
		}
		return strings.Join(parts, "/")
	}
	for i := range list {
		list[i] = normalizeTimes(list[i])
		if o, ok := list[i].(map[string]any); ok {
			delete(o, "LatestRestorableTime") // of a database: the time of the call
		}
	}
	slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(key(a), key(b)) })
	return list
}

// runProcess runs the program as a process, with its own environment.
func runProcess(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), quick.executable(t), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), runAsProgram + "=1"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
