package awsfake

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// The sign-in of every account works, and the account holds the instances and has the problem that it declares.
func TestDemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Demo(Options{})
		srv := s.AWS.InMemory()
		x := &testClient{t: t, aws: s.AWS, srv: srv, http: srv.HTTPClient()}
		defer srv.Close()
		defer x.http.CloseIdleConnections()
		signIns, partitions := map[SignIn]bool{}, map[string]bool{}
		for _, c := range s.Accounts {
			signIns[c.SignIn], partitions[c.Account.Partition] = true, true
			who, err := x.signIn(s, c)
			if strings.Contains(c.Problem, "deleted") {
				wantCode(t, err, "InvalidClientTokenId", "")
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", c.Name, err)
				continue
			}
			me, err := x.callerARN(c.Regions[0], who)
			if err != nil || !strings.Contains(me, ":"+c.Account.ID+":") ||
				!strings.HasPrefix(me, "arn:"+c.Account.Partition+":") {
				t.Errorf("%s is %q, %v", c.Name, me, err)
			}
			n, denied := 0, 0
			for _, region := range c.Regions {
				r := x.ec2(region, who, "DescribeInstances", "MaxResults", "1000")
				if r.code == "UnauthorizedOperation" {
					denied++
				}
				n += strings.Count(r.body, "<instanceId>")
			}
			if c.Problem == "" && (n != c.Instances || denied > 0) || c.Problem != "" && (denied == 0 || n == 0) {
				t.Errorf("%s (%s): %d instances of %d, %d regions denied", c.Name, c.Problem, n, c.Instances, denied)
			}
		}
		for _, m := range s.Organization.Members {
			who, err := x.assume(
				longTerm(s.Organization.Key),
				"arn:aws:iam::"+m.Account.ID+":role/"+s.Organization.Role,
				func(*sts.AssumeRoleInput) {},
			)
			if m.Problem != "" {
				if err == nil {
					t.Errorf("%s (%s): the role can be assumed", m.Name, m.Problem)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
			listed := x.ec2("us-east-1", who, "DescribeInstances", "MaxResults", "1000")
			if n := strings.Count(listed.body, "<instanceId>"); n != m.Instances {
				t.Errorf("%s: %d instances of %d", m.Name, n, m.Instances)
			}
		}
		if len(signIns) != 7 || len(partitions) != 2 || len(s.Accounts) != 10 {
			t.Errorf("%d accounts, sign-ins %v, partitions %v", len(s.Accounts), signIns, partitions)
		}
	})
}

// signIn signs in to an account in its own way.
func (x *testClient) signIn(s *Simulation, c SimulatedAccount) (Credential, error) {
	who := longTerm(c.Key)
	ctx := context.Background()
	switch c.SignIn {
	case ByInstance, ByInstanceRole:
		client := imds.New(imds.Options{Endpoint: x.srv.URL, HTTPClient: x.http, ClientEnableState: imds.ClientEnabled})
		got, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client }).Retrieve(ctx)
		if err != nil {
			return Credential{}, err
		}
		who = credentialOf(got)
	case ByContainer:
		got, err := endpointcreds.New(x.srv.URL+s.Container.Path, func(o *endpointcreds.Options) {
			o.HTTPClient, o.AuthorizationToken = x.http, s.Container.Token
		}).Retrieve(ctx)
		if err != nil {
			return Credential{}, err
		}
		who = credentialOf(got)
	}
	if c.MFA != nil {
		out, err := x.sts(c.Regions[0], c.Key, "").GetSessionToken(ctx, &sts.GetSessionTokenInput{
			SerialNumber: aws.String(c.MFA.Serial), TokenCode: aws.String(c.MFA.Now())})
		if err != nil {
			return Credential{}, err
		}
		o := out.Credentials
		who = Credential{Key: Key{*o.AccessKeyId, *o.SecretAccessKey}, Token: *o.SessionToken}
	}
	if c.RoleARN == "" {
		_, err := x.callerARN(c.Regions[0], who)
		return who, err
	}
	return x.assume(who, c.RoleARN, func(in *sts.AssumeRoleInput) {
		if c.ExternalID != "" {
			in.ExternalId = aws.String(c.ExternalID)
		}
	})
}
