package awsfake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client is the real SDK's STS client against a server.
func stsClient(t *testing.T, s *Server, region string, k Key, token string) *sts.Client {
	t.Helper()
	h := s.HTTPClient()
	t.Cleanup(h.CloseIdleConnections)
	return sts.New(sts.Options{
		BaseEndpoint: aws.String(s.URL), Region: region, HTTPClient: h, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, token),
	})
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// A session ends when the bubble's clock says so: the real SDK works inside a bubble, over pipes.
func TestSessionExpiresInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Options{})
		acct := a.AddAccount("111111111111", "aws")
		u := acct.AddUser("alice")
		acct.AddRole("reader", RoleOptions{Trust: []Trust{{Principals: []string{"111111111111"}}}})
		k := u.NewKey()
		s := a.InMemory()
		defer s.Close()
		h := s.HTTPClient()
		defer h.CloseIdleConnections()
		o := sts.Options{
			BaseEndpoint: aws.String(s.URL), Region: "us-east-1", HTTPClient: h, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, ""),
		}
		ctx := context.Background()
		out, err := sts.New(o).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111111111111:role/reader"), RoleSessionName: aws.String("collector")})
		if err != nil {
			t.Fatal(err)
		}
		c := out.Credentials
		o.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
		me, err := sts.New(o).GetCallerIdentity(ctx, nil)
		if err != nil || *me.Arn != "arn:aws:sts::111111111111:assumed-role/reader/collector" {
			t.Fatalf("identity %v, %v", me, err)
		}
		time.Sleep(59*time.Minute + 58*time.Second)
		if _, err := sts.New(o).GetCallerIdentity(ctx, nil); err != nil {
			t.Fatalf("before its end: %v", err)
		}
		time.Sleep(3 * time.Second)
		if _, err := sts.New(o).GetCallerIdentity(ctx, nil); code(err) != "ExpiredToken" {
			t.Fatalf("after its end: %v", err)
		}
	})
}
