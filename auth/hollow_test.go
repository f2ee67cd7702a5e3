package auth

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// TestHollow: an answer of 200 that is not STS's (a login page, a gateway that says nothing) is no account without an id, no session
// without keys and no panic: it is said what answered, and what is asked next is asked as if it had never been.
func TestHollow(t *testing.T) {
	for name, of := range map[string]func(w *world) config.Account{
		"GetCallerIdentity": func(w *world) config.Account { return w.ak() },
		"AssumeRole":        func(w *world) config.Account { return w.ak(role(w.role.ARN)) },
		"GetSessionToken":   func(w *world) config.Account { return w.ak(device(w.mfa.Serial, w.mfa.Now())) },
		"AssumeRole of a profile": func(w *world) config.Account {
			w.load.ConfigFiles = []string{write(w.t, "config", "[profile u]\naws_access_key_id = "+w.key.ID+"\naws_secret_access_key = "+w.key.Secret+
				"\n[profile x]\nsource_profile = u\nrole_arn = "+w.role.ARN+"\n")}
			return block(profile("x"))
		},
		"AssumeRoleWithWebIdentity": func(w *world) config.Account {
			w.load.ConfigFiles = []string{write(w.t, "config", "[profile x]\nrole_arn = "+w.role.ARN+"\nweb_identity_token_file = "+write(w.t, "token", "a-token")+"\n")}
			return block(profile("x"))
		},
	} {
		action, _, _ := strings.Cut(name, " ")
		for what, text := range map[string]string{
			"nothing": "", "a page": "<html><body>log in here</body></html>", "an empty result": "<" + action + "Response><" + action + "Result></" + action + "Result></" + action + "Response>",
			"half a result": "<" + action + "Response><" + action + "Result><Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId></Credentials><Account>111111111111</Account></" + action + "Result></" + action + "Response>",
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				w := newWorld(t, awsfake.Options{})
				a := of(w)
				cfg, err := LoadAWS(t.Context(), w.load)
				if err != nil {
					t.Fatal(err)
				}
				real := cfg.HTTPClient.(*http.Client).Transport
				cfg.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					b, err := io.ReadAll(r.Body)
					if err != nil {
						return nil, err
					}
					if form, err := url.ParseQuery(string(b)); err == nil && form.Get("Action") == action {
						return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
					}
					r = r.Clone(r.Context())
					r.Body = io.NopCloser(strings.NewReader(string(b)))
					return real.RoundTrip(r)
				})}
				s := NewSessions(Options{AWS: cfg})
				defer s.Close()
				w.refused(s, a, record.BadAnswer, "is not STS", "AWS_ENDPOINT_URL")
			})
		}
	}
}

type hollowSSO struct{}

func (hollowSSO) GetRoleCredentials(context.Context, *sso.GetRoleCredentialsInput, ...func(*sso.Options)) (*sso.GetRoleCredentialsOutput, error) {
	return &sso.GetRoleCredentialsOutput{}, nil
}

func (hollowSSO) CreateToken(context.Context, *ssooidc.CreateTokenInput, ...func(*ssooidc.Options)) (*ssooidc.CreateTokenOutput, error) {
	return &ssooidc.CreateTokenOutput{}, nil
}

// TestHollowSSO: the same of IAM Identity Center, whose answers the SDK takes for whole.
func TestHollowSSO(t *testing.T) {
	s := newWorld(t, awsfake.Options{}).sessions(Options{})
	step := s.profileStep("x", "us-east-1").(*sdkStep)
	_, portalErr := ssoPortal{hollowSSO{}, step}.GetRoleCredentials(t.Context(), &sso.GetRoleCredentialsInput{})
	_, tokenErr := ssoTokenClient{hollowSSO{}, "", step}.renew(t.Context(), &ssooidc.CreateTokenInput{})
	for _, err := range []error{portalErr, tokenErr} {
		if record.ReasonOf(err) != record.BadAnswer || !strings.Contains(record.HintOf(err), "IAM Identity Center") {
			t.Errorf("%v is %s: %s", err, record.ReasonOf(err), record.HintOf(err))
		}
	}
}
