package awsfake

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// A session expires by the bubble's clock: the real SDK works inside a bubble, over pipes.
func TestSessionExpiresInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		r := x.acct.AddRole("reader", RoleOptions{Trust: []Trust{{Principals: []string{"111111111111"}}}})
		x.acct.AddInstances("us-east-1", 1)
		c, err := x.assume(longTerm(x.key), r.ARN, nil)
		if err != nil {
			t.Fatal(err)
		}
		if me, err := x.callerARN("us-east-1", c); err != nil ||
			me != "arn:aws:sts::111111111111:assumed-role/reader/collector" {
			t.Fatalf("identity %q, %v", me, err)
		}
		time.Sleep(59*time.Minute + 58*time.Second)
		if _, err := x.callerARN("us-east-1", c); err != nil {
			t.Fatalf("before it expires: %v", err)
		}
		if got := x.ec2("us-east-1", c, "DescribeInstances"); got.status != 200 {
			t.Fatalf("before it expires: %+v", got)
		}
		time.Sleep(3 * time.Second)
		_, err = x.callerARN("us-east-1", c)
		wantCode(t, err, "ExpiredToken", "The security token included in the request is expired")
		if got := x.ec2("us-east-1", c, "DescribeInstances"); got.status != 400 || got.code != "RequestExpired" {
			t.Errorf("EC2 after it expired: %+v", got)
		}
	})
}

func TestTrust(t *testing.T) {
	x := newTestClient(t, Options{})
	bob := x.acct.AddUser("bob").NewKey()
	other := x.aws.AddAccount("222222222222", "aws")
	own := x.acct.AddRole("own", RoleOptions{Trust: []Trust{{Principals: []string{"111111111111"}}}})
	withID := func(id string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String(id) }
	}
	role := func(name string, tr ...Trust) string { return other.AddRole(name, RoleOptions{Trust: tr}).ARN }
	var (
		root     = role("root", Trust{Principals: []string{"arn:aws:iam::111111111111:root"}})
		alice    = role("alice", Trust{Principals: []string{x.user.ARN}})
		byRole   = role("by-role", Trust{Principals: []string{own.ARN}})
		external = role("external", Trust{Principals: []string{"111111111111"}, ExternalID: "42"})
		needsMFA = role("mfa", Trust{Principals: []string{"111111111111"}, MFA: true})
		machine  = role("machine", Trust{Principals: []string{"ec2.amazonaws.com"}})
		nobody   = role("nobody")
		pathed   = other.AddRole("deep", RoleOptions{Path: "/ops/", Trust: []Trust{{Principals: []string{"*"}}}}).ARN
	)
	session, err := x.assume(longTerm(x.key), own.ARN, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		who  Credential
		role string
		in   func(*sts.AssumeRoleInput)
		ok   bool
	}{
		{"account root", longTerm(x.key), root, nil, true},
		{"named user", longTerm(x.key), alice, nil, true},
		{"another user", longTerm(bob), alice, nil, false},
		{"role by its session", session, byRole, nil, true},
		{"user of the role's account", longTerm(x.key), byRole, nil, false},
		{"external id", longTerm(x.key), external, withID("42"), true},
		{"wrong external id", longTerm(x.key), external, withID("43"), false},
		{"no external id", longTerm(x.key), external, nil, false},
		{"an external id that is not required", longTerm(x.key), root, withID("42"), true},
		{"MFA missing", longTerm(x.key), needsMFA, nil, false},
		{"a service's role", longTerm(x.key), machine, nil, false},
		{"trusts nobody", longTerm(x.key), nobody, nil, false},
		{"missing role", longTerm(x.key), "arn:aws:iam::222222222222:role/none", nil, false},
		{"missing account", longTerm(x.key), "arn:aws:iam::333333333333:role/none", nil, false},
		{"role with a path", longTerm(x.key), pathed, nil, true},
		{"role without its path", longTerm(x.key), "arn:aws:iam::222222222222:role/deep", nil, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, err := x.assume(c.who, c.role, c.in)
			if !c.ok {
				wantCode(t, err, "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: "+c.role)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if me, err := x.callerARN("us-east-1", got); err != nil ||
				!strings.HasPrefix(me, "arn:aws:sts::222222222222:assumed-role/") {
				t.Errorf("identity %q, %v", me, err)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	x := newTestClient(t, Options{})
	tr := []Trust{{Principals: []string{"111111111111"}}}
	hour := x.acct.AddRole("hour", RoleOptions{Trust: tr}).ARN
	day := x.acct.AddRole("day", RoleOptions{Trust: tr, MaxSession: 12 * time.Hour}).ARN
	chained, err := x.assume(longTerm(x.key), day, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x.sts("us-east-1", x.key, "").GetSessionToken(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	signedIn := Credential{
		Key:   Key{*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey},
		Token: *out.Credentials.SessionToken,
	}
	const chain = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
	for _, c := range []struct {
		what    string
		who     Credential
		role    string
		seconds int32
		says    string
	}{
		{"smallest", longTerm(x.key), hour, 900, ""},
		{
			"too small", longTerm(x.key), hour, 899,
			"Value '899' at 'durationSeconds' failed to satisfy constraint: " +
				"Member must have value greater than or equal to 900",
		},
		{"the role's maximum", longTerm(x.key), day, 43200, ""},
		{"more than any role's maximum", longTerm(x.key), day, 43201, "Member must have value less than or equal to 43200"},
		{
			"more than this role's maximum", longTerm(x.key), hour, 3601,
			"The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
		},
		{"chained, an hour", chained, day, 3600, ""},
		{"chained, more", chained, day, 3601, chain},
		{"after GetSessionToken, more", signedIn, day, 7200, chain},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, err := x.assume(c.who, c.role, func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(c.seconds) })
			if c.says != "" {
				wantCode(t, err, "ValidationError", c.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := got.Expires.Sub(x.aws.Now()); d > time.Duration(c.seconds)*time.Second ||
				d < time.Duration(c.seconds-2)*time.Second {
				t.Errorf("expires in %v", d)
			}
		})
	}
}

func TestSessionToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		device := x.user.AddMFA("alice")
		foreign := x.acct.AddUser("bob").AddMFA("bob")
		needs := x.acct.AddRole("needs-mfa", RoleOptions{Trust: []Trust{{Principals: []string{x.user.ARN}, MFA: true}}}).ARN
		ask := func(serial, code string, seconds int32) (Credential, error) {
			in := &sts.GetSessionTokenInput{SerialNumber: aws.String(serial), TokenCode: aws.String(code)}
			if seconds != 0 {
				in.DurationSeconds = aws.Int32(seconds)
			}
			if code == "" {
				in.TokenCode = nil
			}
			out, err := x.sts("us-east-1", x.key, "").GetSessionToken(context.Background(), in)
			if err != nil {
				return Credential{}, err
			}
			o := out.Credentials
			return Credential{Key{*o.AccessKeyId, *o.SecretAccessKey}, *o.SessionToken, *o.Expiration}, nil
		}
		const invalid = "MultiFactorAuthentication failed with invalid MFA one time pass code. "

		_, err := ask(device.Serial, device.Code(time.Now().Add(5*time.Minute)), 0)
		wantCode(t, err, "AccessDenied", invalid)
		_, err = ask(foreign.Serial, foreign.Now(), 0)
		wantCode(
			t, err, "AccessDenied",
			"unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.",
		)
		_, err = ask(device.Serial, "", 0)
		wantCode(t, err, "AccessDenied", "must provide both MFA serial number and one time pass code.")
		_, err = ask(device.Serial, "12345", 0)
		wantCode(t, err, "ValidationError", "Member must have length greater than or equal to 6")
		_, err = ask(device.Serial, "12345x", 0)
		wantCode(t, err, "ValidationError", `Member must satisfy regular expression pattern: [\d]*`)
		_, err = ask(device.Serial, device.Now(), 899)
		wantCode(t, err, "ValidationError", "greater than or equal to 900")
		_, err = ask(device.Serial, device.Now(), 129601)
		wantCode(t, err, "ValidationError", "less than or equal to 129600")

		mfa, err := ask(device.Serial, device.Now(), 129600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ask(device.Serial, device.Now(), 0)
		wantCode(t, err, "AccessDenied", invalid) // a code works once
		for _, off := range []time.Duration{-30 * time.Second, 30 * time.Second} {
			if _, err := ask(device.Serial, device.Code(time.Now().Add(off)), 0); err != nil {
				t.Errorf("code of the window at %v: %v", off, err)
			}
		}
		time.Sleep(time.Minute) // the used code is still recorded
		_, err = ask(device.Serial, device.Code(time.Now().Add(-30*time.Second)), 0)
		wantCode(t, err, "AccessDenied", invalid)

		// The session may assume the role that requires MFA, without another code, but may not get another session.
		role, err := x.assume(mfa, needs, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.assume(longTerm(x.key), needs, nil)
		wantCode(t, err, "AccessDenied", "sts:AssumeRole")
		for _, c := range []Credential{mfa, role} {
			_, err := x.sts("us-east-1", c.Key, c.Token).GetSessionToken(context.Background(), nil)
			wantCode(t, err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
		}
		if me, err := x.callerARN("eu-west-1", mfa); err != nil || me != x.user.ARN {
			t.Errorf("identity %q, %v", me, err)
		}
		// AssumeRole accepts a code, too.
		if _, err := x.assume(longTerm(x.key), needs, func(in *sts.AssumeRoleInput) {
			in.SerialNumber, in.TokenCode = aws.String(device.Serial), aws.String(device.Code(time.Now().Add(30*time.Second)))
		}); err != nil {
			t.Errorf("AssumeRole with a code: %v", err)
		}
		time.Sleep(36 * time.Hour)
		_, err = x.callerARN("us-east-1", mfa)
		wantCode(t, err, "ExpiredToken", "")
	})
}

// The vectors of RFC 6238, appendix B, cut to six digits.
func TestCodes(t *testing.T) {
	m := &MFA{secret: []byte("12345678901234567890")}
	for at, want := range map[int64]string{
		59:          "287082",
		1111111109:  "081804",
		1111111111:  "050471",
		1234567890:  "005924",
		2000000000:  "279037",
		20000000000: "353130",
	} {
		if got := m.Code(time.Unix(at, 0)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

func TestSessionName(t *testing.T) {
	x := newTestClient(t, Options{})
	r := x.acct.AddRole("reader", RoleOptions{Trust: []Trust{{Principals: []string{"*"}}}}).ARN
	for name, says := range map[string]string{
		"a":                      "length greater than or equal to 2",
		strings.Repeat("a", 65):  "length less than or equal to 64",
		"a b":                    `pattern: [\w+=,.@-]*`,
		"ünicode":                `pattern: [\w+=,.@-]*`,
		"aws-ec2+collect=1,.@-_": "",
	} {
		_, err := x.assume(longTerm(x.key), r, func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String(name) })
		if says == "" {
			if err != nil {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		wantCode(t, err, "ValidationError", says)
	}
	_, err := x.assume(longTerm(x.key), "arn:aws:iam::111111111111:user/alice", nil)
	wantCode(t, err, "ValidationError", "Request ARN is invalid")
	_, err = x.assume(longTerm(x.key), "arn:aws-cn:iam::111111111111:role/reader", nil)
	if err == nil {
		t.Error("a role of another partition was assumed")
	}
}

func TestTagsAndSourceIdentity(t *testing.T) {
	x := newTestClient(t, Options{})
	plain := x.acct.AddRole("plain", RoleOptions{Trust: []Trust{{Principals: []string{"*"}}}}).ARN
	full := x.acct.AddRole(
		"full",
		RoleOptions{Trust: []Trust{{Principals: []string{"*"}, SessionTags: true, SourceIdentity: true}}},
	).ARN
	tag := func(in *sts.AssumeRoleInput) {
		in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("ops")}}
	}
	source := func(in *sts.AssumeRoleInput) { in.SourceIdentity = aws.String("alice") }
	_, err := x.assume(longTerm(x.key), plain, tag)
	wantCode(t, err, "AccessDenied", "sts:TagSession")
	_, err = x.assume(longTerm(x.key), plain, source)
	wantCode(t, err, "AccessDenied", "sts:SetSourceIdentity")
	for _, in := range []func(*sts.AssumeRoleInput){tag, source} {
		if _, err := x.assume(longTerm(x.key), full, in); err != nil {
			t.Error(err)
		}
	}
	_, err = x.assume(longTerm(x.key), full, func(in *sts.AssumeRoleInput) {
		in.Tags = []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("A"), Value: aws.String("2")}}
	})
	wantCode(t, err, "InvalidParameterValue", "Duplicate tag keys")
}

func TestRevokeAndDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		r := x.acct.AddRole("reader", RoleOptions{Trust: []Trust{{Principals: []string{"*"}}}})
		old, err := x.assume(longTerm(x.key), r.ARN, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.Revoke()
		if _, err := x.callerARN("us-east-1", old); err != nil {
			t.Errorf("GetCallerIdentity was denied: %v", err)
		}
		if got := x.ec2("us-east-1", old, "DescribeInstances"); got.code != "UnauthorizedOperation" ||
			!strings.HasSuffix(got.message, "with an explicit deny in an identity-based policy") {
			t.Errorf("EC2 after the session was revoked: %+v", got)
		}
		fresh, err := x.assume(longTerm(x.key), r.ARN, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.callerARN("us-east-1", fresh); err != nil {
			t.Error(err)
		}
		x.acct.DeleteRole("reader")
		_, err = x.callerARN("us-east-1", fresh)
		wantCode(t, err, "InvalidClientTokenId", "")
	})
}

func TestWebIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		const sub = "system:serviceaccount:monitoring:collector"
		r := x.acct.AddRole("pod", RoleOptions{Trust: []Trust{{WebIdentities: []string{sub}}}})
		token := x.aws.WebIdentityToken(sub, time.Hour)
		ask := func(token string) (*sts.AssumeRoleWithWebIdentityOutput, error) {
			c := sts.New(sts.Options{
				BaseEndpoint: aws.String(x.srv.URL), Region: "us-east-1", HTTPClient: x.http, RetryMaxAttempts: 1,
			})
			return c.AssumeRoleWithWebIdentity(context.Background(), &sts.AssumeRoleWithWebIdentityInput{
				RoleArn: aws.String(r.ARN), RoleSessionName: aws.String("pod-1"), WebIdentityToken: aws.String(token)})
		}
		out, err := ask(token)
		if err != nil {
			t.Fatal(err)
		}
		o := out.Credentials
		cred := Credential{Key: Key{*o.AccessKeyId, *o.SecretAccessKey}, Token: *o.SessionToken}
		me, err := x.callerARN("us-east-1", cred)
		if err != nil || me != "arn:aws:sts::111111111111:assumed-role/pod/pod-1" ||
			*out.SubjectFromWebIdentityToken != sub {
			t.Errorf("identity %q, subject %q, %v", me, *out.SubjectFromWebIdentityToken, err)
		}
		_, err = ask(token + "\n")
		wantCode(t, err, "InvalidIdentityToken", "")
		_, err = ask(x.aws.WebIdentityToken("system:serviceaccount:default:other", time.Hour))
		wantCode(t, err, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
		time.Sleep(time.Hour)
		_, err = ask(token)
		wantCode(t, err, "ExpiredTokenException", "Token expired")
	})
}
