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

// TestIncompleteResponses: a response with status 200 that does not come from STS (a login page, an empty response of a
// gateway) is not taken for an account without an id or a session without keys, and causes no panic. The error says
// where the response came from, and later calls are not affected.
func TestIncompleteResponses(t *testing.T) {
	for name, of := range map[string]func(w *fixture) config.Account{
		"GetCallerIdentity": func(w *fixture) config.Account { return w.ak() },
		"AssumeRole":        func(w *fixture) config.Account { return w.ak(role(w.role.ARN)) },
		"GetSessionToken":   func(w *fixture) config.Account { return w.ak(device(w.mfa.Serial, w.mfa.Now())) },
		"AssumeRole of a profile": func(w *fixture) config.Account {
			w.load.ConfigFiles = []string{write(w.t, "config", "[profile u]\n"+keyLines(w.key)+
				"[profile x]\nsource_profile = u\nrole_arn = "+w.role.ARN+"\n")}
			return block(profile("x"))
		},
		"AssumeRoleWithWebIdentity": func(w *fixture) config.Account {
			w.load.ConfigFiles = []string{write(w.t, "config", "[profile x]\nrole_arn = "+w.role.ARN+
				"\nweb_identity_token_file = "+write(w.t, "token", "a-token")+"\n")}
			return block(profile("x"))
		},
	} {
		action, _, _ := strings.Cut(name, " ")
		result := func(text string) string {
			return "<" + action + "Response><" + action + "Result>" + text + "</" + action + "Result></" + action + "Response>"
		}
		for what, text := range map[string]string{
			"nothing":         "",
			"a page":          "<html><body>log in here</body></html>",
			"an empty result": result(""),
			"half a result": result("<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId></Credentials>" +
				"<Account>111111111111</Account>"),
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				w := newFixture(t, awsfake.Options{})
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
						return &http.Response{
							StatusCode: http.StatusOK,
							Header:     http.Header{"Content-Type": {"text/xml"}},
							Body:       io.NopCloser(strings.NewReader(text)),
							Request:    r,
						}, nil
					}
					r = r.Clone(r.Context())
					r.Body = io.NopCloser(strings.NewReader(string(b)))
					return real.RoundTrip(r)
				})}
				s := NewSessions(Options{AWS: cfg})
				defer s.Close()
				w.refused(s, a, record.BadAnswer, "did not come from STS", "AWS_ENDPOINT_URL")
			})
		}
	}
}

type incompleteSSO struct{}

func (incompleteSSO) GetRoleCredentials(
	context.Context,
	*sso.GetRoleCredentialsInput,
	...func(*sso.Options),
) (*sso.GetRoleCredentialsOutput, error) {
	return &sso.GetRoleCredentialsOutput{}, nil
}

func (incompleteSSO) CreateToken(
	context.Context,
	*ssooidc.CreateTokenInput,
	...func(*ssooidc.Options),
) (*ssooidc.CreateTokenOutput, error) {
	return &ssooidc.CreateTokenOutput{}, nil
}

// TestIncompleteSSO: the same for IAM Identity Center, whose responses the SDK does not check.
func TestIncompleteSSO(t *testing.T) {
	s := newFixture(t, awsfake.Options{}).sessions(Options{})
	step := s.profileStep("x", "us-east-1")
	_, portalErr := ssoPortal{incompleteSSO{}, step}.GetRoleCredentials(t.Context(), &sso.GetRoleCredentialsInput{})
	_, tokenErr := ssoTokenClient{incompleteSSO{}, "", step}.renew(t.Context(), &ssooidc.CreateTokenInput{})
	for _, err := range []error{portalErr, tokenErr} {
		if record.ReasonOf(err) != record.BadAnswer || !strings.Contains(record.HintOf(err), "IAM Identity Center") {
			t.Errorf("%v is %s: %s", err, record.ReasonOf(err), record.HintOf(err))
		}
	}
}
