package awsfake

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// STS and EC2 refuse each kind of wrong key and signature with their own errors.
func TestKeysAndSignatures(t *testing.T) {
	x := newTestClient(t, Options{})
	china := x.aws.AddAccount("222222222222", "aws-cn").AddUser("collector").NewKey()
	deleted, idle := x.user.NewKey(), x.user.NewKey()
	x.user.DeleteKey(deleted.ID)
	x.user.SetKeyActive(idle.ID, false)
	second := x.user.NewKey()
	r := x.acct.AddRole("reader", RoleOptions{Trust: []Trust{{Principals: []string{"*"}}}})
	session, err := x.assume(longTerm(x.key), r.ARN, nil)
	if err != nil {
		t.Fatal(err)
	}
	another, err := x.assume(longTerm(x.key), r.ARN, nil)
	if err != nil {
		t.Fatal(err)
	}
	closed := x.aws.AddAccount("333333333333", "aws")
	gone := closed.AddUser("collector").NewKey()
	closed.Suspend(true)
	const unknown = "InvalidClientTokenId"
	wrongSecret := Credential{Key: Key{session.ID, "wrong"}, Token: session.Token}
	forged := session.Token[:40] + "AAAA" + session.Token[44:]
	for _, c := range []struct {
		what   string
		region string
		who    Credential
		sts    string // STS's code; "" for success
	}{
		{"good", "us-east-1", longTerm(x.key), ""},
		{"second key", "us-east-1", longTerm(second), ""},
		{"session", "us-east-1", session, ""},
		{"wrong secret", "us-east-1", longTerm(Key{x.key.ID, "wrong"}), "SignatureDoesNotMatch"},
		{"wrong secret of a session", "us-east-1", wrongSecret, "SignatureDoesNotMatch"},
		{"unknown key", "us-east-1", longTerm(Key{"AKIAIOSFODNN7EXAMPLE", "x"}), unknown},
		{"deleted key", "us-east-1", longTerm(deleted), unknown},
		{"inactive key", "us-east-1", longTerm(idle), unknown},
		{"session without its token", "us-east-1", Credential{Key: session.Key}, unknown},
		{"session with a forged token", "us-east-1", Credential{Key: session.Key, Token: forged}, unknown},
		{"session with another's token", "us-east-1", Credential{Key: session.Key, Token: another.Token}, unknown},
		{"long-lived key with a token", "us-east-1", Credential{Key: x.key, Token: session.Token}, unknown},
		{"another partition", "cn-north-1", longTerm(x.key), unknown},
		{"a China key in another partition", "us-east-1", longTerm(china), unknown},
		{"a China key in China", "cn-north-1", longTerm(china), ""},
		{"region not opted in", "af-south-1", longTerm(x.key), unknown},
		{"unknown region", "us-east-9", longTerm(x.key), unknown},
		{"closed account", "us-east-1", longTerm(gone), unknown},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := x.callerARN(c.region, c.who)
			got := x.ec2(c.region, c.who, "DescribeVpcs")
			if c.sts == "" {
				if err != nil || got.status != http.StatusOK {
					t.Errorf("STS %v, EC2 %+v", err, got)
				}
				return
			}
			wantCode(t, err, c.sts, "")
			if got.status != http.StatusUnauthorized || got.code != "AuthFailure" ||
				got.message != "AWS was not able to validate the provided access credentials" {
				t.Errorf("EC2: %+v", got)
			}
		})
	}
	x.acct.OptIn("af-south-1")
	if _, err := x.callerARN("af-south-1", longTerm(x.key)); err != nil {
		t.Errorf("after OptIn: %v", err)
	}
}

func TestClockSkew(t *testing.T) {
	for off, want := range map[time.Duration]string{
		6 * time.Minute: "Signature expired: ", -6 * time.Minute: "Signature not yet current: ", 4 * time.Minute: "",
	} {
		x := newTestClient(t, Options{ClockOffset: off})
		c := x.sts("us-east-1", x.key, "")
		_, err := c.GetCallerIdentity(context.Background(), nil, func(o *sts.Options) { o.RetryMaxAttempts = 1 })
		got, rerr := x.ec2At(context.Background(), time.Now(), "us-east-1", longTerm(x.key), "DescribeVpcs")
		if rerr != nil {
			t.Fatal(rerr)
		}
		if want == "" {
			if err != nil || got.status != 200 {
				t.Errorf("%v off: STS %v, EC2 %+v", off, err, got)
			}
			continue
		}
		wantCode(t, err, "SignatureDoesNotMatch", want)
		if got.status != 400 || got.code != "RequestExpired" || got.message != "Request has expired." {
			t.Errorf("%v off: EC2 %+v", off, got)
		}
		// The Date header is AWS's, so that a client can find out its clock skew.
		at, derr := http.ParseTime(got.header.Get("Date"))
		if d := time.Until(at); derr != nil || d < off-3*time.Second || d > off+3*time.Second {
			t.Errorf("Date is %v off, want %v", d, off)
		}
		// With retries, the SDK corrects its clock by it.
		retry := func(o *sts.Options) { o.RetryMaxAttempts = 3 }
		if _, err := c.GetCallerIdentity(context.Background(), nil, retry); err != nil {
			t.Errorf("%v off, with retries: %v", off, err)
		}
	}
}

// A signature covers the body, the query and the signed headers.
func TestTamperedRequests(t *testing.T) {
	x := newTestClient(t, Options{})
	tamper := func(f func(*http.Request)) int {
		h := *x.http
		h.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { f(r); return x.http.Transport.RoundTrip(r) })
		y := *x
		y.http = &h
		return y.ec2("us-east-1", longTerm(x.key), "DescribeVpcs").status
	}
	if got := tamper(func(*http.Request) {}); got != 200 {
		t.Fatalf("unchanged: %d", got)
	}
	for what, f := range map[string]func(*http.Request){
		"body":   func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0; r.Header.Set("Content-Length", "0") },
		"query":  func(r *http.Request) { r.URL.RawQuery = "Action=DescribeHosts" },
		"header": func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") },
		"host":   func(r *http.Request) { r.Host = "ec2.eu-west-1.amazonaws.com" },
		"date":   func(r *http.Request) { r.Header.Set("X-Amz-Date", time.Now().Add(time.Second).UTC().Format(amzDate)) },
		"signature": func(r *http.Request) {
			r.Header.Set("Authorization", strings.TrimRight(r.Header.Get("Authorization"), "0123456789abcdef")+"00")
		},
		"scope": func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-east-1", "us-west-2", 1))
		},
	} {
		if got := tamper(f); got != http.StatusUnauthorized && got != http.StatusBadRequest {
			t.Errorf("%s changed: %d", what, got)
		}
	}
	for what, h := range map[string]string{
		"none":              "",
		"another algorithm": "AWS3 x",
		"half a credential": "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=x",
		"no signature":      "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host",
	} {
		got := tamper(func(r *http.Request) {
			r.Header.Del("Authorization")
			if h != "" {
				r.Header.Set("Authorization", h)
			}
		})
		if got != http.StatusForbidden && got != http.StatusBadRequest {
			t.Errorf("Authorization: %s: %d", what, got)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestDenials(t *testing.T) {
	x := newTestClient(t, Options{})
	bob := x.acct.AddUser("bob").NewKey()
	r := x.acct.AddRole("reader", RoleOptions{Trust: []Trust{{Principals: []string{"111111111111"}}}})
	session, err := x.assume(longTerm(x.key), r.ARN, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.acct.Deny(
		Denial{Action: "ec2:DescribeVpcs", Region: "eu-*", SCP: true},
		Denial{Principal: r.ARN, Action: "ec2:DescribeSubnets"},
		Denial{Principal: "arn:aws:iam::111111111111:user/bob", Action: "sts:*"},
		Denial{Action: "ec2:DescribeImages", WithoutMFA: true},
	)
	for _, c := range []struct {
		who            Credential
		region, action string
		why            string
	}{
		{longTerm(x.key), "eu-west-1", "DescribeVpcs", "with an explicit deny in a service control policy"},
		{longTerm(x.key), "us-east-1", "DescribeVpcs", ""},
		{session, "us-east-1", "DescribeSubnets", "because no identity-based policy allows the ec2:DescribeSubnets action"},
		{longTerm(x.key), "us-east-1", "DescribeSubnets", ""},
		{longTerm(x.key), "us-east-1", "DescribeImages", "with an explicit deny in an identity-based policy"},
	} {
		got := x.ec2(c.region, c.who, c.action)
		dry := x.ec2(c.region, c.who, c.action, "DryRun", "true")
		if c.why == "" {
			if got.status != 200 || dry.status != 412 || dry.code != "DryRunOperation" ||
				dry.message != "Request would have succeeded, but DryRun flag is set." {
				t.Errorf("%s %s: %+v, dry run %+v", c.region, c.action, got, dry)
			}
			continue
		}
		who, err := x.callerARN(c.region, c.who)
		if err != nil {
			t.Fatal(err)
		}
		want := "You are not authorized to perform this operation. User: " + who +
			" is not authorized to perform: ec2:" + c.action + " " + c.why
		for _, g := range []*reply{got, dry} {
			if g.status != http.StatusForbidden || g.code != "UnauthorizedOperation" || g.message != want {
				t.Errorf("%s %s: %+v, want %q", c.region, c.action, g, want)
			}
		}
	}
	_, err = x.assume(longTerm(bob), r.ARN, nil)
	wantCode(
		t, err, "AccessDenied",
		"User: arn:aws:iam::111111111111:user/bob is not authorized to perform: sts:AssumeRole on resource: "+r.ARN,
	)
	if _, err := x.callerARN("us-east-1", longTerm(bob)); err != nil {
		t.Errorf("GetCallerIdentity was denied: %v", err)
	}
	in := &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)}
	if _, err := x.sts("us-east-1", bob, "").GetSessionToken(context.Background(), in); err == nil {
		t.Error("GetSessionToken was not denied")
	}
	x.acct.Allow()
	if got := x.ec2("eu-west-1", longTerm(x.key), "DescribeVpcs"); got.status != 200 {
		t.Errorf("after Allow: %+v", got)
	}
}
