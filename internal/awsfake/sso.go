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

// A PermissionSet is assigned to an account by IAM Identity Center as a role with a generated name.
type PermissionSet struct {
	Name string
	Role *Role
}

// AddPermissionSet assigns a permission set to the account.
func (c *Account) AddPermissionSet(name string) *PermissionSet {
	suffix := hex.EncodeToString(c.aws.derive("permission set", c.ID, name)[:8])
	r := c.AddRole(
		"AWSReservedSSO_"+name+"_"+suffix,
		RoleOptions{Path: "/aws-reserved/sso.amazonaws.com/", MaxSession: 12 * time.Hour},
	)
	return &PermissionSet{name, r}
}

// An SSOToken holds what `aws sso login` writes to ~/.aws/sso/cache.
type SSOToken struct {
	AccessToken, RefreshToken string
	ClientID, ClientSecret    string
	Expires                   time.Time
}

// An ssoLogin is the login of a user. Each refresh replaces both tokens and invalidates the old ones.
type ssoLogin struct {
	SSOToken
	user     string
	sets     []*PermissionSet
	validFor time.Duration
}

// SSOLogin logs in a user who has these permission sets, in place of `aws sso login` and a browser. Each access token
// is valid for validFor.
func (a *AWS) SSOLogin(user string, validFor time.Duration, sets ...*PermissionSet) SSOToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := &ssoLogin{user: user, sets: sets, validFor: validFor}
	l.ClientID, l.ClientSecret = "client-"+user, hex.EncodeToString(a.derive("sso client", user))
	a.renewTokens(l)
	a.logins = append(a.logins, l)
	return l.SSOToken
}

// SSOLogout ends all logins of a user.
func (a *AWS) SSOLogout(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logins = slices.DeleteFunc(a.logins, func(l *ssoLogin) bool { return l.user == user })
}

// renewTokens replaces the tokens of a login. The caller holds a.mu.
func (a *AWS) renewTokens(l *ssoLogin) {
	n := strconv.FormatUint(a.sessions.Add(1), 10)
	l.AccessToken = "aoa" + hex.EncodeToString(a.derive("sso access", l.user, n))
	l.RefreshToken = "aor" + hex.EncodeToString(a.derive("sso refresh", l.user, n))
	l.Expires = a.Now().Add(l.validFor).Truncate(time.Second)
}

// ssoError encodes an error as REST JSON services do.
func (q *request) ssoError(status int, code string, body map[string]string) *response {
	out := q.json(status, body)
	q.call.Code = code
	out.header = http.Header{"X-Amzn-Errortype": {code}}
	return out
}

// serveSSO serves GetRoleCredentials of the portal.
// https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html
func (a *AWS) serveSSO(q *request) *response {
	token := q.http.Header.Get("X-Amz-Sso_bearer_token")
	p := q.http.URL.Query()
	a.mu.RLock()
	defer a.mu.RUnlock()
	i := slices.IndexFunc(a.logins, func(l *ssoLogin) bool { return l.AccessToken == token })
	if i < 0 || !a.Now().Before(a.logins[i].Expires) {
		return q.ssoError(
			http.StatusUnauthorized,
			"UnauthorizedException",
			map[string]string{"message": "Session token not found or invalid"},
		)
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

// serveOIDC serves CreateToken for a refresh token, the only OIDC call that needs no user interaction.
// https://docs.aws.amazon.com/singlesignon/latest/OIDCAPIReference/API_CreateToken.html
func (a *AWS) serveOIDC(q *request) *response {
	var in struct{ ClientID, ClientSecret, GrantType, RefreshToken string }
	if err := json.Unmarshal(q.body, &in); err != nil {
		return q.ssoError(
			http.StatusBadRequest,
			"InvalidRequestException",
			map[string]string{"error": "invalid_request", "error_description": err.Error()},
		)
	}
	if in.GrantType != "refresh_token" {
		return q.ssoError(http.StatusBadRequest, "UnsupportedGrantTypeException", map[string]string{
			"error": "unsupported_grant_type", "error_description": fmt.Sprintf("grant type %q is not supported", in.GrantType)})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.logins, func(l *ssoLogin) bool { return l.RefreshToken == in.RefreshToken })
	if i < 0 {
		return q.ssoError(
			http.StatusBadRequest,
			"InvalidGrantException",
			map[string]string{"error": "invalid_grant", "error_description": "Invalid grant provided"},
		)
	}
	l := a.logins[i]
	if l.ClientID != in.ClientID || l.ClientSecret != in.ClientSecret {
		return q.ssoError(
			http.StatusUnauthorized,
			"InvalidClientException",
			map[string]string{"error": "invalid_client", "error_description": "Invalid client provided"},
		)
	}
	a.renewTokens(l)
	return q.json(
		http.StatusOK,
		map[string]any{
			"accessToken":  l.AccessToken,
			"refreshToken": l.RefreshToken,
			"tokenType":    "Bearer",
			"expiresIn":    int(l.validFor.Seconds()),
		},
	)
}
