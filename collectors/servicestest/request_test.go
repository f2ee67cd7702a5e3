package servicestest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/redshift"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/record"
)

// A recorder records what is sent.
type recorder struct{ sent []string }

var errRecorded = errors.New("recorded")

func (r *recorder) Do(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	scope := regexp.MustCompile(`/[^/]+/[^/]+/aws4_request`).FindString(q.Header.Get("Authorization"))
	host := q.Host
	if host == "" {
		host = q.URL.Host
	}
	r.sent = append(r.sent, fmt.Sprintf("%s %s host %s signed for %s: %s", q.Method, q.URL, host, scope, body))
	return nil, errRecorded
}

type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{
		AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	}, nil
}
func (keys) RejectCurrent() {}

type open struct{}

func (open) Enter(context.Context, string, string) (func(string), error) { return func(string) {}, nil }

// A service is a kind of a service, and the call of the SDK's client that lists it.
type service struct {
	kind    string
	setting string // its name in the names of variables: AUTO_SCALING; in files it has small letters
	scope   string // in what is signed, and the begin of the form
	list    func(aws.Config) error
}

var services = []service{
	{kind: "autoscaling_group", setting: "AUTO_SCALING",
		scope: "/autoscaling/aws4_request: Action=DescribeAutoScalingGroups&",
		list: func(cfg aws.Config) error {
			in := &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(100)}
			if p, ok := record.PartitionOf(cfg.Region); ok && p.ID == "aws" {
				in.IncludeManagedResources = aws.Bool(true)
			}
			_, err := autoscaling.NewFromConfig(cfg).DescribeAutoScalingGroups(context.Background(), in)
			return err
		}},
	{kind: "cloudformation_stack", setting: "CLOUDFORMATION",
		scope: "/cloudformation/aws4_request: Action=DescribeStacks&",
		list: func(cfg aws.Config) error {
			in := &cloudformation.DescribeStacksInput{}
			_, err := cloudformation.NewFromConfig(cfg).DescribeStacks(context.Background(), in)
			return err
		}},
	{kind: "elb_load_balancer", setting: "ELASTIC_LOAD_BALANCING",
		scope: "/elasticloadbalancing/aws4_request: Action=DescribeLoadBalancers&",
		list: func(cfg aws.Config) error {
			in := &elasticloadbalancing.DescribeLoadBalancersInput{PageSize: aws.Int32(20)}
			_, err := elasticloadbalancing.NewFromConfig(cfg).DescribeLoadBalancers(context.Background(), in)
			return err
		}},
	{kind: "elbv2_load_balancer", setting: "ELASTIC_LOAD_BALANCING_V2",
		scope: "/elasticloadbalancing/aws4_request: Action=DescribeLoadBalancers&",
		list: func(cfg aws.Config) error {
			in := &elasticloadbalancingv2.DescribeLoadBalancersInput{PageSize: aws.Int32(20)}
			_, err := elasticloadbalancingv2.NewFromConfig(cfg).DescribeLoadBalancers(context.Background(), in)
			return err
		}},
	{kind: "elasticache_user", setting: "ELASTICACHE", scope: "/elasticache/aws4_request: Action=DescribeUsers&",
		list: func(cfg aws.Config) error {
			in := &elasticache.DescribeUsersInput{MaxRecords: aws.Int32(100)}
			_, err := elasticache.NewFromConfig(cfg).DescribeUsers(context.Background(), in)
			return err
		}},
	{kind: "rds_instance", setting: "RDS", scope: "/rds/aws4_request: Action=DescribeDBInstances&",
		list: func(cfg aws.Config) error {
			in := &rds.DescribeDBInstancesInput{MaxRecords: aws.Int32(100)}
			_, err := rds.NewFromConfig(cfg).DescribeDBInstances(context.Background(), in)
			return err
		}},
	{kind: "redshift_cluster", setting: "REDSHIFT", scope: "/redshift/aws4_request: Action=DescribeClusters&",
		list: func(cfg aws.Config) error {
			in := &redshift.DescribeClustersInput{MaxRecords: aws.Int32(100)}
			_, err := redshift.NewFromConfig(cfg).DescribeClusters(context.Background(), in)
			return err
		}},
}

// sentBySDK returns the request of the SDK's client, or its error.
func (s service) sentBySDK(cfg aws.Config, region string) string {
	var r recorder
	cfg.HTTPClient, cfg.Region, cfg.Credentials = &r, region, keys{}
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return outcome(r, s.list(cfg))
}

// sentByUs returns the request of a listing, or its error.
func sentByUs(t *testing.T, cfg aws.Config, kind, region string) string {
	var r recorder
	cfg.HTTPClient = &r
	l, err := collectors.New(collectors.Options{AWS: cfg, Attempts: 1, Pages: record.NewPagePool(1, 1<<20)})
	if err != nil {
		t.Fatal(err)
	}
	k, _ := collectors.KindNamed(kind)
	o := collectors.CallOptions{Session: keys{}, Region: region, Gate: open{}}
	for _, failed := range l.Pages(context.Background(), o, k, "", new(record.ListStats)) {
		err = failed
	}
	return outcome(r, err)
}

func outcome(r recorder, err error) string {
	switch {
	case len(r.sent) > 0:
		return strings.Join(r.sent, "\n")
	case err == nil:
		return "nothing was sent"
	}
	text := err.Error()
	for _, part := range []string{"not supported", "does not support", "invalid input region"} {
		if strings.Contains(text, part) {
			return part
		}
	}
	return text
}

// In every region, with every setting of endpoints, the SDK's client sends what we send.
func TestRequestsEqualTheSDKs(t *testing.T) {
	for _, s := range services {
		t.Run(s.kind, func(t *testing.T) { s.testRequests(t) })
	}
}

func (s service) testRequests(t *testing.T) {
	file := "[default]\nservices = here\n[services here]\n" + strings.ToLower(s.setting) +
		" =\n  endpoint_url = http://127.0.0.1:1/as\nec2 =\n  endpoint_url = http://127.0.0.1:1/ec2\n"
	for name, c := range map[string]struct {
		env  map[string]string
		file string
	}{
		"nothing":             {},
		"FIPS":                {env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}},
		"dual stack":          {env: map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}},
		"FIPS and dual stack": {file: "[default]\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n"},
		"endpoint":            {env: map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:2/a"}},
		"endpoint of EC2":     {env: map[string]string{"AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:3"}},
		"endpoint of the service": {env: map[string]string{
			"AWS_ENDPOINT_URL": "http://127.0.0.1:2", "AWS_ENDPOINT_URL_" + s.setting: "http://127.0.0.1:4"}},
		"endpoint and FIPS": {env: map[string]string{
			"AWS_ENDPOINT_URL": "http://127.0.0.1:2", "AWS_USE_FIPS_ENDPOINT": "true"}},
		"file":              {file: file},
		"file of all":       {file: "[default]\nendpoint_url = http://127.0.0.1:5\n"},
		"file and variable": {file: file, env: map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:2"}},
		"file and variable of itself": {file: file, env: map[string]string{
			"AWS_ENDPOINT_URL_" + s.setting: "http://127.0.0.1:4"}},
		"ignored": {file: file, env: map[string]string{
			"AWS_ENDPOINT_URL": "http://127.0.0.1:2", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			path := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigFiles([]string{path}),
				config.WithSharedCredentialsFiles(nil))
			if err != nil {
				t.Fatal(err)
			}
			regions := []string{"ap-next-9", "us-gov-next-1", "not a region"}
			for _, p := range record.Partitions {
				regions = append(regions, p.Regions...)
			}
			sent := 0
			for _, region := range regions {
				want, got := s.sentBySDK(cfg, region), sentByUs(t, cfg, s.kind, region)
				if got != want {
					t.Errorf("%s: we send\n%s\nthe SDK sends\n%s", region, got, want)
				}
				if strings.Contains(want, s.scope) {
					sent++
				}
			}
			if sent < 20 && name != "endpoint and FIPS" {
				t.Errorf("%d requests were compared", sent)
			}
		})
	}
}
