package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/web/api"
)

// A callRecorder passes calls on to moto and records their actions.
type callRecorder struct {
	mu      sync.Mutex
	actions map[string]bool // "ec2:DescribeRegions"
}

func (r *callRecorder) start(t *testing.T, m *moto) (endpoint string) {
	t.Helper()
	r.actions = map[string]bool{}
	target, err := url.Parse(m.url)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(target)
	pass.Transport = &http.Transport{DisableKeepAlives: true}
	scope := regexp.MustCompile(`Credential=[^/]+/[^/]+/[^/]+/([^/]+)/`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		form, err := url.ParseQuery(string(body))
		if s := scope.FindStringSubmatch(q.Header.Get("Authorization")); err == nil && s != nil {
			r.mu.Lock()
			r.actions[s[1]+":"+form.Get("Action")] = true
			r.mu.Unlock()
		}
		pass.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// testScalingGroup collects what a scaling group with two instances is behind. What is related leads from an instance
// to the load balancers, and the policy of the configuration names the actions that were called, and no others.
func (m *moto) testScalingGroup(t *testing.T, creds credentials, region string) {
	var calls callRecorder
	endpoint := calls.start(t, m)
	config := filepath.Join(t.TempDir(), "config.yaml")
	write(t, config, fmt.Sprintf(`
data_dir: %s/data
collector_configs:
  regions: [%s]
  kinds: [ec2_instance, autoscaling_group, "elb_*", elbv2_load_balancer, elbv2_listener, elbv2_rule,
    "elbv2_target_*"]
accounts: [{name: web, ak_id: %s, ak_secret: "%s"}]
`, filepath.Dir(config), region, creds.key, creds.secret))
	env := []string{"AWS_ENDPOINT_URL=" + endpoint, "AWS_EC2_METADATA_DISABLED=true"}
	if _, stderr, code := runProcess(t, env, "run", "--once", "--config", config); code != exitDone {
		t.Fatalf("exit %d\n%s", code, stderr)
	}

	policy, stderr, code := runProcess(t, nil, "policy", "--config", config)
	if code != exitDone {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	var allowed []string
	for _, a := range regexp.MustCompile(`"([a-z0-9]+:Describe\w+)"`).FindAllStringSubmatch(policy, -1) {
		allowed = append(allowed, a[1])
	}
	slices.Sort(allowed)
	called := slices.DeleteFunc(slices.Sorted(maps.Keys(calls.actions)), func(a string) bool {
		return strings.HasPrefix(a, "sts:")
	})
	if !slices.Equal(allowed, called) || !slices.Contains(called, "elasticloadbalancing:DescribeTags") {
		t.Errorf("the policy allows\n%q, called were\n%q", allowed, called)
	}

	err := newCLI(config, os.Stdout, os.Stderr).withStore(t.Context(), func(r inventory.Store) error {
		return walkToBalancers(t, r)
	})
	if err != nil {
		t.Error(err)
	}
}

// walkToBalancers follows what is related, from the instances of the scaling group to its load balancers.
func walkToBalancers(t *testing.T, r inventory.Store) error {
	questions := api.New(api.Options{Store: r, Relations: relations})
	// step returns the resources of a kind that are related to one of these.
	step := func(from []*inventory.Resource, kind string) (next []*inventory.Resource) {
		for _, res := range from {
			all, err := questions.Related(t.Context(), res, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			for _, to := range all {
				if to.Kind != kind || !to.Found {
					continue
				}
				q := inventory.Query{Kinds: []string{kind}, ID: to.ID, Data: true}
				for found, err := range r.Find(t.Context(), q) {
					if err != nil {
						t.Fatal(err)
					}
					next = append(next, found)
				}
			}
		}
		return next
	}
	var group []*inventory.Resource
	q := inventory.Query{Kinds: []string{"autoscaling_group"}, ID: "web & co", Data: true}
	for found, err := range r.Find(t.Context(), q) {
		if err != nil {
			return err
		}
		group = append(group, found)
	}
	instances := step(group, "ec2_instance")
	if len(instances) != 2 {
		t.Errorf("%d instances of the group", len(instances))
	}
	for _, path := range [][]string{
		{"autoscaling_group", "elbv2_target_group", "elbv2_load_balancer"},
		{"elbv2_target_health", "elbv2_target_group", "elbv2_load_balancer"},
		{"autoscaling_group", "elb_load_balancer"},
		{"elb_load_balancer"},
	} {
		at := instances[:1]
		for _, kind := range path {
			at = step(at, kind)
		}
		if len(at) != 1 || !slices.Contains([]string{"front", "old"}, at[0].Name) {
			t.Errorf("%v leads to %d load balancers", path, len(at))
			continue
		}
		if name := at[0].Tags["Name"]; name != "<&> ü \u00e9" {
			t.Errorf("%s has the tag Name %q", at[0].Name, name)
		}
	}
	return nil
}
