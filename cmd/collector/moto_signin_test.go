package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readRecords returns the number of records by account, and the tags of each account.
func readRecords(t *testing.T, stdout string) (n map[string]int, tags map[string]map[string]string) {
	t.Helper()
	n, tags = map[string]int{}, map[string]map[string]string{}
	for line := range strings.Lines(stdout) {
		var r struct {
			Account string
			Tags    map[string]string `json:"extra_tags"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		n[r.Account]++
		tags[r.Account] = r.Tags
	}
	return n, tags
}

// launch starts instances with these credentials.
func (m *moto) launch(creds credentials, region string, n int) {
	m.t.Helper()
	ami := m.image(creds, region)
	m.aws(creds, region, "ec2", "run-instances",
		"--image-id", ami, "--count", fmt.Sprint(n), "--instance-type", "t3.micro")
}

func (m *moto) config(text string) string {
	m.t.Helper()
	dir := m.t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text = "data_dir: " + dir + "/data\ncollector_configs: {regions: [us-east-1]}\n" + text
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// createAccount creates an account without the CLI, which takes a second to start.
func (m *moto) createAccount(account string) {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.url, strings.NewReader(account))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AWSOrganizationsV20161128.CreateAccount")
	r.Header.Set(
		"Authorization",
		"AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/organizations/aws4_request, SignedHeaders=host, Signature=0",
	)
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Fatal(resp.Status)
	}
}

// An organization in moto: nested units, tags, one closed member. The collected accounts, their names and tags are
// those that the CLI created.
func TestMotoOrganizations(t *testing.T) {
	t.Parallel()
	m := startMoto(t)
	root := credentials{"testing", "testing", ""}
	m.aws(root, "us-east-1", "iam", "create-user", "--user-name", "collector")
	k := m.aws(root, "us-east-1", "iam", "create-access-key", "--user-name", "collector")["AccessKey"].(map[string]any)
	user := credentials{k["AccessKeyId"].(string), k["SecretAccessKey"].(string), ""}
	org := func(args ...string) map[string]any {
		return m.aws(root, "us-east-1", append([]string{"organizations"}, args...)...)
	}
	org("create-organization", "--feature-set", "ALL")
	top := org("list-roots")["Roots"].([]any)[0].(map[string]any)["Id"].(string)
	unit := func(parent, name string) string {
		created := org("create-organizational-unit", "--parent-id", parent, "--name", name)
		return created["OrganizationalUnit"].(map[string]any)["Id"].(string)
	}
	work := unit(top, "Workloads")
	prod, play := unit(work, "Prod"), unit(top, "Sandbox")
	account := func(name, parent string) string {
		created := org("create-account", "--account-name", name, "--email", name+"@example.com",
			"--tags", "Key=env,Value="+name+"-env")
		id := created["CreateAccountStatus"].(map[string]any)["AccountId"].(string)
		org("move-account", "--account-id", id, "--source-parent-id", top, "--destination-parent-id", parent)
		m.launch(m.assume(user, "arn:aws:iam::"+id+":role/OrganizationAccountAccessRole"), "us-east-1", 2)
		return id
	}
	shop, search, sandbox, closed := account(
		"shop",
		prod,
	), account(
		"search",
		work,
	), account(
		"sandbox",
		play,
	), account(
		"closed",
		prod,
	)
	for i := range 22 { // so that there is a second page
		m.createAccount(fmt.Sprintf(`{"AccountName": "filler-%d", "Email": "filler-%[1]d@example.com"}`, i))
	}
	org("close-account", "--account-id", closed)
	block := func(more string) string {
		return m.config(fmt.Sprintf(`
organizations:
  - via: {ak_id: %s, ak_secret: "%s"}
    role: OrganizationAccountAccessRole
    extra_tags: {who: "{{.Name}} {{.Email}}", unit: "{{.OU}}", env: "{{.Tags.env}}"}
    %s
`, user.key, user.secret, more))
	}
	env := []string{"AWS_ENDPOINT_URL=" + m.url, "AWS_EC2_METADATA_DISABLED=true"}
	for include, want := range map[string]map[string]int{
		"include: {ous: [" + work + "]}":                                              {shop: 2, search: 2},
		"include: {ous: [" + work + "]}\n    exclude: {ous: [" + prod + "]}":          {search: 2},
		"include: {tags: {env: 's*-env'}}\n    exclude: {accounts: ['" + shop + "']}": {search: 2, sandbox: 2},
	} {
		stdout, stderr, code := runProcess(t, env, "run", "--once", "--config", block(include))
		got, tags := readRecords(t, stdout)
		if code != exitDone || !maps.Equal(got, want) {
			t.Errorf("%s: exit %d, records %v, want %v\n%s", include, code, got, want, stderr)
		}
		wantTags := map[string]string{"who": "search search@example.com", "unit": "Workloads", "env": "search-env"}
		if !maps.Equal(tags[search], wantTags) {
			t.Errorf("tags %v, want %v", tags[search], wantTags)
		}
		if strings.Contains(include, prod) == strings.Contains(stderr, closed) && !strings.Contains(include, "tags") {
			t.Errorf("%s: wrong report of the closed account %s:\n%s", include, closed, stderr)
		}
	}
}

// A profile with a web identity, and a chain of roles behind it.
func TestMotoWebIdentity(t *testing.T) {
	t.Parallel()
	m := startMoto(t)
	root := credentials{"testing", "testing", ""}
	const first, last = "arn:aws:iam::222222222222:role/web", "arn:aws:iam::333333333333:role/reader"
	web := m.assume(root, first)
	m.launch(web, "us-east-1", 1)
	m.launch(m.assume(web, last), "us-east-1", 3)
	dir := t.TempDir()
	files := map[string]string{
		"token": "a-web-identity-token\n", // with the newline that an editor leaves
		"config": "[profile web]\nrole_arn = " + first +
			"\nweb_identity_token_file = " + dir + "/token\nrole_session_name = pod\n",
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := m.config(`
accounts:
  - {name: web, profile: web, account_id: "222222222222"}
  - {name: behind, profile: web, assume_role_arn: "` + last + `"}
`)
	stdout, stderr, code := runProcess(
		t,
		[]string{"AWS_ENDPOINT_URL=" + m.url, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + dir + "/config"},
		"run", "--once", "--config", path,
	)
	if got, _ := readRecords(t, stdout); code != exitDone || !maps.Equal(got, map[string]int{"web": 1, "behind": 3}) {
		t.Errorf("exit %d, records %v\n%s", code, got, stderr)
	}
}
