package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// TestWrong tests failing sign-ins: the reason, and words of the error or the hint.
func TestWrong(t *testing.T) {
	type scene struct {
		*fixture
		block config.Account
	}
	unknown := awsfake.Key{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	for _, tt := range []struct {
		name string
		set  func(*scene)
		want record.Reason
		say  []string
	}{
		{"unknown key", func(s *scene) { key(unknown)(&s.block) },
			record.BadKey, []string{"AKIA…MPLE", "partition than aws ", "deleted"}},
		{"key of another partition", func(s *scene) {
			s.block = s.ak(func(a *config.Account) { a.Collect.Regions = []string{"cn-north-1"} })
		}, record.BadKey, []string{"partition than aws-cn ", "another partition"}},
		{"region not enabled", func(s *scene) {
			s.block = s.ak(func(a *config.Account) { a.STSRegion = "me-south-1" })
		}, record.BadKey, []string{"me-south-1 is not enabled"}},
		{"wrong secret", func(s *scene) {
			s.block = s.ak()
			s.block.AKSecret = unknown2
		}, record.BadSignature, []string{"secret", "AKIA…MPLE"}},
		{"wrong secret before a role", func(s *scene) {
			s.block = s.ak(role(s.role.ARN))
			s.block.AKSecret = unknown2
		}, record.BadSignature, []string{"assume role " + "arn:aws:iam::222222222222:role/reader"}},
		{"key without a secret", func(s *scene) {
			s.block = s.ak()
			s.block.AKSecret = secret.String{}
		}, record.NoCredentials, []string{"ak_id or ak_secret is missing", "`ak_secret`"}},
		{"ASIA without token", func(s *scene) {
			key(awsfake.Key{ID: "ASIAIOSFODNN7EXAMPLE", Secret: unknown.Secret})(&s.block)
		}, record.NoCredentials, []string{"`session_token`"}},

		{"role that does not exist", func(s *scene) {
			s.block = s.ak(role("arn:aws:iam::222222222222:role/absent"))
		}, record.AssumeDenied, []string{
			"Check that arn:aws:iam::222222222222:role/absent exists",
			"trust policy names arn:aws:iam::111111111111:user/alice",
			"set `external_id`", "MFA",
		}},
		{"role that does not trust", func(s *scene) {
			s.role.SetTrust(awsfake.Trust{Principals: []string{"333333333333"}})
			s.block = s.ak(role(s.role.ARN))
		}, record.AssumeDenied, []string{"trust policy"}},
		{"external id wrong", func(s *scene) {
			s.role.SetTrust(awsfake.Trust{Principals: []string{s.home.ID}, ExternalID: "right"})
			s.block = s.ak(role(s.role.ARN), func(a *config.Account) { a.Role.ExternalID = "wrong" })
		}, record.AssumeDenied, []string{"`external_id` equals"}},
		{"role that asks for MFA", func(s *scene) {
			s.role.SetTrust(awsfake.Trust{Principals: []string{s.home.ID}, MFA: true})
			s.block = s.ak(role(s.role.ARN))
		}, record.AssumeDenied, []string{"`serial_number`"}},
		{"second hop denied", func(s *scene) {
			s.block = s.ak(func(a *config.Account) {
				a.Roles = []config.Role{{ARN: s.role.ARN}, {ARN: "arn:aws:iam::111111111111:role/absent"}}
			})
		}, record.AssumeDenied, []string{
			"arn:aws:iam::111111111111:role/absent exists", "names arn:aws:sts::222222222222:assumed-role/reader/collector",
		}},
		{"role session too long", func(s *scene) {
			s.block = s.ak(role(s.role.ARN), func(a *config.Account) { a.Role.Duration = config.Duration(2 * time.Hour) })
		}, record.BadDuration, []string{"`role_duration`", "maximum session duration"}},

		{"MFA code wrong", func(s *scene) { s.block = s.ak(device(s.mfa.Serial, "000000")) },
			record.MFAInvalid, []string{"`token_code`", "works once"}},
		{"MFA device of another", func(s *scene) {
			other := s.home.AddUser("bob").AddMFA("bob")
			s.block = s.ak(device(other.Serial, other.Now()))
		}, record.MFASerial, []string{"mfa/bob", "`serial_number`"}},
		{"MFA without a code", func(s *scene) { s.block = s.ak(device(s.mfa.Serial, "")) },
			record.MFANeeded, []string{"`token_code`", "reload"}},
		{"MFA with temporary keys", func(s *scene) {
			c := retrieve(s.fixture, s.open(s.sessions(Options{}), s.ak(role(s.role.ARN))))
			s.block = block(key(awsfake.Key{ID: c.AccessKeyID, Secret: c.SecretAccessKey}), device(s.mfa.Serial, "000000"))
			s.block.SessionToken = secret.New(c.SessionToken)
		}, record.BadKey, []string{"long-lived key", "mfa " + "arn:aws:iam::111111111111:mfa/alice"}},
		{"MFA session too long", func(s *scene) {
			s.block = s.ak(device(s.mfa.Serial, s.mfa.Now()))
			s.block.MFASessionDuration = config.Duration(72 * time.Hour)
		}, record.BadDuration, []string{"`mfa_session_duration`"}},

		{"account_id", func(s *scene) {
			s.block = s.ak(func(a *config.Account) { a.AccountID = "444444444444" })
		}, record.WrongAccount, []string{"444444444444", "111111111111", "ak AKIA…MPLE"}},
		{"partition", func(s *scene) {
			s.block = s.ak(func(a *config.Account) { a.Partition = "aws-us-gov" })
		}, record.WrongAccount, []string{"aws-us-gov", "partition aws "}},

		{"expired keys in the block", func(s *scene) {
			c := retrieve(s.fixture, s.open(s.sessions(Options{}), s.ak(role(s.role.ARN))))
			time.Sleep(2 * time.Hour)
			s.block = block(key(awsfake.Key{ID: c.AccessKeyID, Secret: c.SecretAccessKey}))
			s.block.SessionToken = secret.New(c.SessionToken)
		}, record.Expired, []string{"the temporary key of ak ASIA…MPLE"}},

		{"no role on the instance", func(s *scene) { s.aws.SetIMDS(&awsfake.IMDS{Region: "us-east-1"}) },
			record.NoCredentials, []string{"instance profile"}},
		{"hop limit", func(s *scene) {
			s.aws.SetIMDS(&awsfake.IMDS{Region: "us-east-1", BeyondHopLimit: true})
		}, record.NoCredentials, []string{"requires a token (IMDSv2)", "hop limit", "http-put-response-hop-limit"}},
		{"the instance's role trusts nobody", func(s *scene) {
			s.aws.SetIMDS(&awsfake.IMDS{Role: s.home.AddRole("i", awsfake.RoleOptions{}), Region: "us-east-1"})
		}, record.NoCredentials, []string{"ec2.amazonaws.com"}},
		{"no container", func(s *scene) { source("EcsContainer")(&s.block) },
			record.NoCredentials, []string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"}},
		{"container refuses", func(s *scene) {
			s.aws.AddContainer(awsfake.Container{Path: "/c", Role: s.role, Token: "right"})
			s.load.ContainerEndpoint = s.srv.URL + "/c"
		}, record.NoCredentials, []string{"authorization token"}},
		{"empty environment", func(s *scene) { source("Environment")(&s.block) },
			record.NoCredentials, []string{"AWS_ACCESS_KEY_ID"}},
		{"unknown credential_source", func(s *scene) { source("Nowhere")(&s.block) },
			record.NoCredentials, []string{"Ec2InstanceMetadata"}},
		{"profile where files are not read", func(s *scene) { profile("x")(&s.block) },
			record.NoCredentials, []string{"profile x"}},
		{"profile that is not there", func(s *scene) {
			s.load.ConfigFiles = []string{write(s.t, "config", "[profile y]\nregion = us-east-1\n")}
			profile("x")(&s.block)
		}, record.NoCredentials, []string{"AWS_CONFIG_FILE", "profile x: the profile is not in any shared AWS file"}},
		{"[profile x] in a credentials file", func(s *scene) {
			s.load.CredentialsFiles = []string{write(s.t, "credentials", "[profile x]\n"+keyLines(unknown))}
			profile("x")(&s.block)
		}, record.NoCredentials, []string{"write the section as [x]", "credentials"}},
		{"[x] in a config file", func(s *scene) {
			s.load.ConfigFiles = []string{write(s.t, "config", "[x]\n"+keyLines(unknown))}
			profile("x")(&s.block)
		}, record.NoCredentials, []string{"write the section as [profile x]"}},
		{"profile that may not assume", func(s *scene) {
			s.load.ConfigFiles = []string{write(s.t, "config", "[profile u]\n"+keyLines(s.key)+
				"[profile x]\nsource_profile = u\nrole_arn = arn:aws:iam::222222222222:role/absent\n")}
			profile("x")(&s.block)
		}, record.AssumeDenied, []string{
			"profile x: assume role arn:aws:iam::222222222222:role/absent", "names arn:aws:iam::111111111111:user/alice",
		}},
		{"profile with MFA and no key", func(s *scene) {
			s.load.ConfigFiles = []string{write(s.t, "config", "[profile x]\nrole_arn = "+
				"arn:aws:iam::222222222222:role/reader\ncredential_source = EcsContainer\nmfa_serial = "+s.mfa.Serial+"\n")}
			profile("x")(&s.block)
		}, record.NoCredentials, []string{"mfa_serial", "long-lived"}},

		{"STS hangs", func(s *scene) {
			s.aws.Inject(awsfake.Fault{Kind: awsfake.Hang, Service: "sts"})
			s.block = s.ak()
		}, record.TimedOut, []string{"us-east-1", "VPC endpoint"}},
		{"STS is unavailable", func(s *scene) {
			s.aws.Inject(awsfake.Fault{Kind: awsfake.Unavailable, Service: "sts"})
			s.block = s.ak()
		}, record.ServiceError, []string{"status 503", "`sts_region`"}},
		{"a proxy responds for STS", func(s *scene) {
			s.aws.Inject(awsfake.Fault{Kind: awsfake.ProxyPage, Service: "sts"})
			s.block = s.ak()
		}, record.Other, []string{"status 503"}},
		{"STS throttles", func(s *scene) {
			s.aws.Inject(awsfake.Fault{Kind: awsfake.Throttling, Service: "sts"})
			s.block = s.ak()
		}, record.Throttling, []string{"throttles calls"}},
		{"STS cannot be reached", func(s *scene) {
			s.srv.Close()
			s.block = s.ak()
		}, record.Network, []string{"HTTPS_PROXY"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // time-outs take no real time
				s := &scene{fixture: newFixture(t, awsfake.Options{}), block: block()}
				tt.set(s)
				s.aws.ResetCalls()
				sessions := s.sessions(Options{})
				s.refused(sessions, s.block, tt.want, tt.say...)
				_, err := sessions.Open(t.Context(), s.block)
				texts := map[string]string{
					"error": fmt.Sprintf("%v %+v", err, err), "hint": record.HintOf(err), "log": s.log.String(),
				}
				for what, text := range texts {
					for _, secret := range []string{s.key.Secret, unknown.Secret, unknown2.Reveal(), s.block.SessionToken.Reveal()} {
						if secret != "" && strings.Contains(text, secret) {
							t.Errorf("the %s shows a secret: %s", what, text)
						}
					}
				}
			})
		})
	}
}

var unknown2 = secret.New("je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY")

func retrieve(w *fixture, s *Session) aws.Credentials {
	w.t.Helper()
	c, err := s.Retrieve(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// TestSkew: the SDK corrects a wrong clock where it can, also for the code that is sent once; where it cannot, the hint
// explains it.
func TestSkew(t *testing.T) {
	for _, off := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newFixture(t, awsfake.Options{ClockOffset: off})
			w.open(w.sessions(Options{}), w.ak(device(w.mfa.Serial, w.mfa.Now())))
			w.count("GetSessionToken", 1)

			cfg, err := LoadAWS(t.Context(), w.load)
			if err != nil {
				t.Fatal(err)
			}
			cfg.DisableClockSkewCorrection = true
			s := NewSessions(Options{AWS: cfg, Log: slog.New(slog.NewTextHandler(w.log, nil))})
			t.Cleanup(s.Close)
			side := "20m0s behind AWS's"
			if off < 0 {
				side = "20m0s ahead of AWS's"
			}
			_, err = s.Open(t.Context(), w.ak())
			hint := record.HintOf(err)
			if record.ReasonOf(err) != record.ClockSkew || !strings.Contains(hint, side) || !strings.Contains(hint, "NTP") {
				t.Errorf("%v: %s, hint %q", off, err, record.HintOf(err))
			}
		})
	}
}

// TestMFATexts tests explain with the texts of STS: only the text distinguishes these errors.
func TestMFATexts(t *testing.T) {
	for _, tt := range []struct {
		code, text string
		want       record.Reason
	}{
		{"AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code. ", record.MFAInvalid},
		{"AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code.  " +
			"Please verify your MFA serial number is valid and associated with this user.", record.MFASerial},
		{"AccessDenied", "MultiFactorAuthentication failed, " +
			"must provide both MFA serial number and one time pass code.", record.MFANeeded},
		{"AccessDenied", "Cannot call GetSessionToken with session credentials", record.BadKey},
		{"AccessDenied", "User: arn:aws:iam::111111111111:user/a is not authorized to perform: sts:GetSessionToken",
			record.AccessDenied},
		{"ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit " +
			"for roles assumed by role chaining", record.BadDuration},
		{"RegionDisabledException", "STS is not activated in this region for account:111111111111. " +
			"Your account administrator can activate STS in this region using the IAM Console.", record.DisabledRegion},
		{"RequestExpired", "Request has expired.", record.ClockSkew},
		{"ExpiredToken", "The security token included in the request is expired", record.ClockSkew},
	} {
		err := explain(&smithy.GenericAPIError{Code: tt.code, Message: tt.text},
			errorContext{operation: "x", signer: "ak AKIA…MPLE", region: "us-east-1"})
		if got := record.ReasonOf(err); got != tt.want || record.HintOf(err) == "" {
			t.Errorf("%s: %s (hint %q), want %s", tt.text, got, record.HintOf(err), tt.want)
		}
	}
}

// TestNamesDoNotSteer: texts in which people's own names stand do not decide on the reason and the hint.
func TestNamesDoNotSteer(t *testing.T) {
	for _, name := range []string{
		"DurationSeconds exceeds", "'durationSeconds'", "Signature expired", "Signature not yet current",
		"invalid MFA one time pass code", "unable to validate MFA", "session credentials", "sts:TagSession on",
		"STS is not activated in this region", "sso", "service control policy",
	} {
		err := explain(&smithy.GenericAPIError{Code: "AccessDenied", Message: "User: arn:aws:iam::111111111111:user/a is " +
			"not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::222222222222:role/" + name},
			errorContext{operation: "x", signer: "ak AKIA…MPLE", region: "us-east-1", role: "r"})
		if record.ReasonOf(err) != record.AssumeDenied || !strings.Contains(record.HintOf(err), "Check that r exists") {
			t.Errorf("%s: %s (%s)", name, record.ReasonOf(err), record.HintOf(err))
		}
		err = explain(&smithy.GenericAPIError{Code: "ValidationError",
			Message: "1 validation error detected: Value '" + name + "' at 'externalId' failed to satisfy constraint"},
			errorContext{operation: "x", signer: "ak AKIA…MPLE", region: "us-east-1", role: "r"})
		if record.ReasonOf(err) != record.Other {
			t.Errorf("%s: %s (%s)", name, record.ReasonOf(err), record.HintOf(err))
		}
	}
	w, _ := ordinaryEnv(t)
	t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile prod-sso]\ncredential_process = false\n"))
	w.refused(w.sessions(Options{}), block(profile("prod-sso")), record.NoCredentials, "exit status 1", "yourself")
}

// TestRedact: what AWS quotes of a request is not shown.
func TestRedact(t *testing.T) {
	c := errorContext{
		operation: "x",
		creds:     aws.Credentials{SecretAccessKey: "SECRETEXAMPLE", SessionToken: "TOKENEXAMPLE"},
		code:      "012345",
	}
	for _, text := range []string{
		"1 validation error detected: Value '012345' at 'tokenCode' failed to satisfy constraint",
		"bad TOKENEXAMPLE and SECRETEXAMPLE",
		"The request signature we calculated does not match.\n\n" +
			"The Canonical String for this request should have been\n'POST\n/\nx-amz-security-token:OTHERTOKEN'",
	} {
		got := explain(&smithy.GenericAPIError{Code: "X", Message: text}, c).Error()
		for _, s := range []string{"012345", "TOKENEXAMPLE", "SECRETEXAMPLE", "OTHERTOKEN"} {
			if strings.Contains(got, s) {
				t.Errorf("%q shows %s", got, s)
			}
		}
	}
}

func TestNeverSent(t *testing.T) {
	dial := fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("refused")})
	read := fmt.Errorf("x: %w", &net.OpError{Op: "read", Err: errors.New("reset")})
	if !neverSent(dial) || neverSent(read) || neverSent(context.DeadlineExceeded) {
		t.Error("only a connection that was not made sends nothing")
	}
}
