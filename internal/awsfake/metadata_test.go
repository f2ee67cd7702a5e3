package awsfake

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func (x *testClient) imds() *imds.Client {
	return imds.New(imds.Options{Endpoint: x.srv.URL, HTTPClient: x.http, ClientEnableState: imds.ClientEnabled})
}

func credentialOf(c aws.Credentials) Credential {
	return Credential{Key{c.AccessKeyID, c.SecretAccessKey}, c.SessionToken, c.Expires}
}

// The real SDK signs in as an instance, assumes a role of another account, and gets new credentials before the old ones
// expire.
func TestInstanceRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		host := x.acct.AddRole("host", RoleOptions{Trust: []Trust{{Principals: []string{"ec2.amazonaws.com"}}}})
		remote := x.aws.AddAccount("222222222222", "aws").
			AddRole("reader", RoleOptions{MaxSession: 2 * time.Hour, Trust: []Trust{{Principals: []string{host.ARN}}}})
		x.aws.SetIMDS(&IMDS{Role: host, Region: "eu-west-1", InstanceID: "i-0123456789abcdef0"})
		ctx := t.Context()
		p := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = x.imds() })
		c, err := p.Retrieve(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if me, err := x.callerARN("us-east-1", credentialOf(c)); err != nil ||
			me != "arn:aws:sts::111111111111:assumed-role/host/i-0123456789abcdef0" {
			t.Errorf("identity %q, %v", me, err)
		}
		if _, err := x.assume(credentialOf(c), remote.ARN, nil); err != nil {
			t.Error(err)
		}
		_, err = x.assume(credentialOf(c), remote.ARN, func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7200) })
		wantCode(t, err, "ValidationError", "role chaining")
		region, err := x.imds().GetRegion(ctx, nil)
		if err != nil || region.Region != "eu-west-1" {
			t.Errorf("region %v, %v", region, err)
		}
		doc, err := x.imds().GetInstanceIdentityDocument(ctx, nil)
		if err != nil || doc.AccountID != "111111111111" || doc.Region != "eu-west-1" {
			t.Errorf("document %+v, %v", doc, err)
		}
		again, err := p.Retrieve(ctx)
		if err != nil || again.AccessKeyID != c.AccessKeyID {
			t.Errorf("new credentials too early: %v", err)
		}
		time.Sleep(5*time.Hour + 56*time.Minute)
		later, err := p.Retrieve(ctx)
		if err != nil || later.AccessKeyID == c.AccessKeyID {
			t.Errorf("no new credentials: %v", err)
		}
		time.Sleep(10 * time.Minute)
		_, err = x.callerARN("us-east-1", credentialOf(c))
		wantCode(t, err, "ExpiredToken", "")
		if _, err := x.callerARN("us-east-1", credentialOf(later)); err != nil {
			t.Errorf("new credentials: %v", err)
		}
	})
}

func TestMetadataRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		request := func(method, path string, h ...string) (int, string) {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, x.srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(h); i += 2 {
				r.Header.Set(h[i], h[i+1])
			}
			res, err := x.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res.StatusCode, string(b)
		}
		if s, _ := request("PUT", "/latest/api/token", imdsTTL, "60"); s != 404 {
			t.Errorf("no metadata service: %d", s)
		}
		idle := x.acct.AddRole("idle", RoleOptions{})
		x.aws.SetIMDS(&IMDS{Role: idle, Region: "us-east-1", InstanceID: "i-0"})
		for ttl, want := range map[string]int{"": 400, "0": 400, "x": 400, "21601": 400, "1": 200, "21600": 200} {
			if s, _ := request("PUT", "/latest/api/token", imdsTTL, ttl); s != want {
				t.Errorf("TTL %q: %d, want %d", ttl, s, want)
			}
		}
		if s, _ := request("PUT", "/latest/api/token", imdsTTL, "60", "X-Forwarded-For", "10.0.0.1"); s != 403 {
			t.Errorf("forwarded: %d", s)
		}
		if s, _ := request("GET", "/latest/meta-data/instance-id"); s != 401 {
			t.Errorf("version 1: %d", s)
		}
		_, token := request("PUT", "/latest/api/token", imdsTTL, "60")
		if s, b := request("GET", "/latest/meta-data/instance-id", imdsToken, token); s != 200 || b != "i-0" {
			t.Errorf("%d %q", s, b)
		}
		if s, _ := request("GET", "/latest/meta-data/instance-id", imdsToken, token+"0"); s != 401 {
			t.Errorf("a token with a changed expiry: %d", s)
		}
		var got struct{ Code string }
		if _, b := request("GET", imdsRole+"idle", imdsToken, token); json.Unmarshal([]byte(b), &got) != nil ||
			got.Code != "AssumeRoleUnauthorizedAccess" {
			t.Errorf("a role that does not trust EC2: %s", b)
		}
		time.Sleep(time.Minute)
		if s, _ := request("GET", "/latest/meta-data/instance-id", imdsToken, token); s != 401 {
			t.Errorf("an expired token: %d", s)
		}
		x.aws.SetIMDS(&IMDS{Region: "us-east-1", InstanceID: "i-0"})
		_, token = request("PUT", "/latest/api/token", imdsTTL, "60")
		if s, _ := request("GET", imdsRole, imdsToken, token); s != 404 {
			t.Errorf("no role: %d", s)
		}
		x.aws.SetIMDS(&IMDS{Role: idle, BeyondHopLimit: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := x.imds().GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"}); err == nil {
			t.Error("a response arrived beyond the hop limit")
		}
		c := x.aws.Calls(func(c *Call) bool { return c.Service == "imds" && c.Action == "PUT /latest/api/token" })
		if len(c) < 9 {
			t.Errorf("%d PUTs in the log", len(c))
		}
	})
}

func TestContainerRole(t *testing.T) {
	x := newTestClient(t, Options{})
	task := x.acct.AddRole("task", RoleOptions{Trust: []Trust{{Principals: []string{"ecs-tasks.amazonaws.com"}}}})
	x.aws.AddContainer(Container{Path: "/v2/credentials/1", Role: task, Token: "let me in", Task: "t-1"})
	x.aws.AddContainer(Container{Path: "/v2/credentials/2", Role: x.acct.AddRole("host", RoleOptions{}), Task: "t-2"})
	retrieve := func(path, token string) (aws.Credentials, error) {
		return endpointcreds.New(x.srv.URL+path, func(o *endpointcreds.Options) {
			o.HTTPClient, o.AuthorizationToken, o.Retryer = x.http, token, aws.NopRetryer{}
		}).Retrieve(t.Context())
	}
	c, err := retrieve("/v2/credentials/1", "let me in")
	if err != nil {
		t.Fatal(err)
	}
	if me, err := x.callerARN("us-east-1", credentialOf(c)); err != nil ||
		me != "arn:aws:sts::111111111111:assumed-role/task/t-1" {
		t.Errorf("identity %q, %v", me, err)
	}
	for _, token := range []string{"", "let me i", "let me in\n"} {
		if _, err := retrieve("/v2/credentials/1", token); err == nil {
			t.Errorf("the token %q was accepted", token)
		}
	}
	if _, err := retrieve("/v2/credentials/2", ""); err == nil {
		t.Error("credentials of a role that does not trust the service")
	}
}
