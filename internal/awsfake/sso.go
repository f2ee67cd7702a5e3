package awsfake

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A PermissionSet is what IAM Identity Center lets people be in an account: a role with a name that nobody chose.
type PermissionSet struct {
	Name string
	Role *Role
}

// AddPermissionSet assigns a permission set to the account.
func (c *Account) AddPermissionSet(name string) *PermissionSet {
	mark := hex.EncodeToString(c.aws.derive("permission set", c.ID, name)[:8])
	r := c.AddRole("AWSReservedSSO_"+name+"_"+mark, RoleOptions{Path: "/aws-reserved/sso.amazonaws.com/", MaxSession: 12 * time.Hour})
	return &PermissionSet{name, r}
}

// An SSOToken is what `aws sso login` writes into ~/.aws/sso/cache.
type SSOToken struct {
	AccessToken, RefreshToken string
	ClientID, ClientSecret    string
	Expires                   time.Time
}

// An ssoLogin is a person who is logged in. Both tokens change with each refresh, and the old ones are no longer good.
type ssoLogin struct {
	SSOToken
	user     string
	sets     []*PermissionSet
	validFor time.Duration
}

// SSOLogin logs a person in who has these permission sets, as `aws sso login` would in a browser. Each access token is good for so long.
func (a *AWS) SSOLogin(user string, good time.Duration, sets ...*PermissionSet) SSOToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := &ssoLogin{user: user, sets: sets, validFor: good}
	l.ClientID, l.ClientSecret = "client-"+user, hex.EncodeToString(a.derive("sso client", user))
	a.renewTokens(l)
	a.logins = append(a.logins, l)
	return l.SSOToken
}

// SSOLogout ends every login of a person.
func (a *AWS) SSOLogout(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logins = slices.DeleteFunc(a.logins, func(l *ssoLogin) bool { return l.user == user })
}

// renewTokens gives a login its next tokens. The caller holds a.mu.
func (a *AWS) renewTokens(l *ssoLogin) {
	n := strconv.FormatUint(a.sessions.Add(1), 10)
	l.AccessToken = "aoa" + hex.EncodeToString(a.derive("sso access", l.user, n))
	l.RefreshToken = "aor" + hex.EncodeToString(a.derive("sso refresh", l.user, n))
	l.Expires = a.Now().Add(l.validFor).Truncate(time.Second)
}

// ssoError is an error in the shape of a REST service that speaks JSON.
func (q *request) ssoError(status int, code string, body map[string]string) *answer {
	out := q.json(status, body)
	q.call.Code = code
	out.header = http.Header{"X-Amzn-Errortype": {code}}
	return out
}

// serveSSO is the portal: a role's credentials for an access token.
// https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html
func (a *AWS) serveSSO(q *request) *answer {
	token := q.http.Header.Get("X-Amz-Sso_bearer_token")
	p := q.http.URL.Query()
	a.mu.RLock()
	defer a.mu.RUnlock()
	i := slices.IndexFunc(a.logins, func(l *ssoLogin) bool { return l.AccessToken == token })
	if i < 0 || !a.Now().Before(a.logins[i].Expires) {
		return q.ssoError(http.StatusUnauthorized, "UnauthorizedException", map[string]string{"message": "Session token not found or invalid"})
	}
	l := a.logins[i]
	n := slices.IndexFunc(l.sets, func(s *PermissionSet) bool {
		return s.Name == p.Get("role_name") && s.Role.account.ID == p.Get("account_id")
	})
	if n < 0 {
		return q.ssoError(http.StatusForbidden, "ForbiddenException", map[string]string{"message": "No access"})
	}
	r := l.sets[n].Role
	q.call.AccountID = r.account.ID
	c := a.startSession(session{AccountID: r.account.ID, Role: r.Name, Name: l.user}, time.Hour)
	return q.json(http.StatusOK, map[string]any{"roleCredentials": map[string]any{
		"accessKeyId": c.ID, "secretAccessKey": c.Secret, "sessionToken": c.Token, "expiration": c.Expires.UnixMilli()}})
}

// serveOIDC is the one call of the OIDC service that a program makes without a person: new tokens for a refresh token.
// https://docs.aws.amazon.com/singlesignon/latest/OIDCAPIReference/API_CreateToken.html
func (a *AWS) serveOIDC(q *request) *answer {
	var in struct{ ClientID, ClientSecret, GrantType, RefreshToken string }
	if err := json.Unmarshal(q.body, &in); err != nil {
		return q.ssoError(http.StatusBadRequest, "InvalidRequestException", map[string]string{"error": "invalid_request", "error_description": err.Error()})
	}
	if in.GrantType != "refresh_token" {
		return q.ssoError(http.StatusBadRequest, "UnsupportedGrantTypeException", map[string]string{
			"error": "unsupported_grant_type", "error_description": fmt.Sprintf("grant type %q needs a person", in.GrantType)})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.logins, func(l *ssoLogin) bool { return l.RefreshToken == in.RefreshToken })
	if i < 0 {
		return q.ssoError(http.StatusBadRequest, "InvalidGrantException", map[string]string{"error": "invalid_grant", "error_description": "Invalid grant provided"})
	}
	l := a.logins[i]
	if l.ClientID != in.ClientID || l.ClientSecret != in.ClientSecret {
		return q.ssoError(http.StatusUnauthorized, "InvalidClientException", map[string]string{"error": "invalid_client", "error_description": "Invalid client provided"})
	}
	a.renewTokens(l)
	return q.json(http.StatusOK, map[string]any{"accessToken": l.AccessToken, "refreshToken": l.RefreshToken, "tokenType": "Bearer", "expiresIn": int(l.validFor.Seconds())})
}
