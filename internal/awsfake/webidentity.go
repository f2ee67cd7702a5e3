package awsfake

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// claims are the claims of a web identity token that this package checks.
type claims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Aud     string `json:"aud"`
	Expires int64  `json:"exp"`
}

const issuer = "https://oidc.eks.us-east-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"

var base64URL = base64.RawURLEncoding

// WebIdentityToken returns a token as EKS writes it to a pod's AWS_WEB_IDENTITY_TOKEN_FILE, for a subject such as
// "system:serviceaccount:monitoring:collector". Only this AWS accepts it.
func (a *AWS) WebIdentityToken(subject string, validFor time.Duration) string {
	body, err := json.Marshal(claims{issuer, subject, "sts.amazonaws.com", a.Now().Add(validFor).Unix()})
	if err != nil {
		panic(err) // strings and a number: cannot fail
	}
	head := base64URL.EncodeToString([]byte(`{"alg":"RS256","kid":"awsfake"}`)) + "." + base64URL.EncodeToString(body)
	return head + "." + base64URL.EncodeToString(a.derive("web identity", head))
}

func (a *AWS) readWebIdentity(token string) (claims, *apiError) {
	var c claims
	bad := refuse(
		http.StatusBadRequest,
		"InvalidIdentityToken",
		"The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
	)
	f := strings.Split(token, ".")
	if len(f) != 3 {
		return c, bad
	}
	if f[2] != base64URL.EncodeToString(a.derive("web identity", f[0]+"."+f[1])) {
		return c, refuse(
			http.StatusBadRequest,
			"InvalidIdentityToken",
			"Couldn't retrieve verification key from your identity provider,  "+
				"please reference AssumeRoleWithWebIdentity documentation for requirements",
		)
	}
	raw, err := base64URL.DecodeString(f[1])
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return c, bad
	}
	if now := a.Now().Unix(); now >= c.Expires {
		return c, refuse(
			http.StatusBadRequest, "ExpiredTokenException",
			"Token expired: current date/time %d must be before the expiration date/time %d", now, c.Expires,
		)
	}
	return c, nil
}

// assumeRoleWithWebIdentity serves the only unsigned call of STS: the token identifies the caller.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
func (a *AWS) assumeRoleWithWebIdentity(q *request) (*response, *apiError) {
	name := q.form.Get("RoleSessionName")
	q.call.RoleSessionName = name
	if err := checkSessionName(name, "roleSessionName"); err != nil {
		return nil, err
	}
	d, err := sessionDuration(q, time.Hour, 15*time.Minute, 12*time.Hour)
	if err != nil {
		return nil, err
	}
	c, err := a.readWebIdentity(q.form.Get("WebIdentityToken"))
	if err != nil {
		return nil, err
	}
	r := a.roleNamed(q.form.Get("RoleArn"))
	if r == nil || !a.trustsSubject(r, c.Subject) {
		return nil, accessDenied("Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	if d > r.MaxSession {
		return nil, validationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	q.call.AccountID = r.account.ID
	return a.assumedRoleResponse(q, r, session{Name: name}, d, func(m *xmlWriter) {
		m.text("SubjectFromWebIdentityToken", c.Subject)
		m.text("Audience", c.Aud)
		provider := "oidc-provider/" + strings.TrimPrefix(issuer, "https://")
		m.text("Provider", r.account.arn("iam", provider))
	}), nil
}

func (a *AWS) trustsSubject(r *Role, subject string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.ContainsFunc(r.Trust, func(t Trust) bool {
		return slices.ContainsFunc(t.WebIdentities, func(s string) bool { return glob(s, subject) })
	})
}
