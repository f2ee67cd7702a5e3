package awsfake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A testClient is a client of an AWS with one account and one user, served in memory.
type testClient struct {
	t    testing.TB
	aws  *AWS
	srv  *Server
	http *http.Client
	acct *Account
	user *User
	key  Key
}

func newTestClient(t testing.TB, o Options) *testClient {
	t.Helper()
	a := New(o)
	x := &testClient{t: t, aws: a, srv: a.InMemory(), acct: a.AddAccount("111111111111", "aws")}
	x.user = x.acct.AddUser("alice")
	x.key = x.user.NewKey()
	x.http = x.srv.HTTPClient()
	t.Cleanup(func() { x.http.CloseIdleConnections(); x.srv.Close() })
	return x
}

// sts returns the real SDK's client.
func (x *testClient) sts(region string, k Key, token string) *sts.Client {
	return sts.New(sts.Options{
		BaseEndpoint: aws.String(x.srv.URL), Region: region, HTTPClient: x.http, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, token),
	})
}

func (x *testClient) callerARN(region string, c Credential) (string, error) {
	out, err := x.sts(region, c.Key, c.Token).GetCallerIdentity(context.Background(), nil)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Arn), nil
}

// assume assumes a role with the real SDK.
func (x *testClient) assume(c Credential, role string, f func(*sts.AssumeRoleInput)) (Credential, error) {
	in := &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("collector")}
	if f != nil {
		f(in)
	}
	region := "us-east-1"
	if strings.HasPrefix(role, "arn:aws-cn:") {
		region = "cn-north-1"
	}
	out, err := x.sts(region, c.Key, c.Token).AssumeRole(context.Background(), in)
	if err != nil {
		return Credential{}, err
	}
	o := out.Credentials
	return Credential{Key{*o.AccessKeyId, *o.SecretAccessKey}, *o.SessionToken, *o.Expiration}, nil
}

// wantCode fails the test unless err is an AWS error with the code and a message that contains text.
func wantCode(t testing.TB, err error, code, text string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("got %s: %q, want %s: %q", e.ErrorCode(), e.ErrorMessage(), code, text)
	}
}

// A reply is a response of EC2.
type reply struct {
	status        int
	code, message string
	body          string
	header        http.Header
}

// sendSigned makes a call that is signed as the SDK does, with the given date. It does not use service/ec2, which takes
// minutes to build.
func (x *testClient) sendSigned(
	ctx context.Context, at time.Time, region string, c Credential, action string, params ...string,
) (*http.Response, error) {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.srv.URL+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	cred := aws.Credentials{AccessKeyID: c.ID, SecretAccessKey: c.Secret, SessionToken: c.Token}
	if err := v4.NewSigner().SignHTTP(ctx, cred, req, hex.EncodeToString(sum[:]), "ec2", region, at); err != nil {
		return nil, err
	}
	return x.http.Do(req)
}

// discard makes a call and discards the response.
func (x *testClient) discard(region, action string, params ...string) error {
	res, err := x.sendSigned(context.Background(), x.aws.Now(), region, longTerm(x.key), action, params...)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func (x *testClient) ec2At(
	ctx context.Context, at time.Time, region string, c Credential, action string, params ...string,
) (*reply, error) {
	res, err := x.sendSigned(ctx, at, region, c, action, params...)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	r := &reply{status: res.StatusCode, body: string(b), header: res.Header}
	if err != nil {
		return r, err
	}
	var e struct {
		Errors struct {
			Error struct{ Code, Message string }
		}
		RequestID string
	}
	if res.StatusCode != http.StatusOK && xml.Unmarshal(b, &e) == nil {
		r.code, r.message = e.Errors.Error.Code, e.Errors.Error.Message
		if e.RequestID == "" {
			return r, errors.New("an error without RequestID: " + r.body)
		}
	}
	return r, nil
}

func (x *testClient) ec2(region string, c Credential, action string, params ...string) *reply {
	x.t.Helper()
	r, err := x.ec2At(context.Background(), x.aws.Now(), region, c, action, params...)
	if err != nil {
		x.t.Fatalf("%s: %v", action, err)
	}
	return r
}

// longTerm returns a long-term key as a credential.
func longTerm(k Key) Credential { return Credential{Key: k} }

// between returns every text between two marks.
func between(s, from, to string) []string {
	var all []string
	for {
		_, rest, ok := strings.Cut(s, from)
		if !ok {
			return all
		}
		v, after, _ := strings.Cut(rest, to)
		all, s = append(all, v), after
	}
}

func element(s, name string) string {
	if all := between(s, "<"+name+">", "</"+name+">"); len(all) > 0 {
		return all[0]
	}
	return ""
}
