package awsfake

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/record"
)

// A session is the content of a session token. The token carries all of it, authenticated, so sessions take no memory.
type session struct {
	KeyID     string
	AccountID string
	User      string            `json:",omitempty"` // of GetSessionToken
	Role      string            `json:",omitempty"` // name
	Name      string            `json:",omitempty"` // RoleSessionName
	MFA       bool              `json:",omitempty"`
	Source    string            `json:",omitempty"` // SourceIdentity
	Tags      map[string]string `json:",omitempty"`
	Begun     time.Time
	Expires   time.Time
}

// A Credential is a key with its session token, as STS, the metadata service and the container endpoint return it.
type Credential struct {
	Key
	Token   string
	Expires time.Time
}

var errBadToken = errors.New("not a token of this AWS")

// startSession starts a session with a key and an authenticated token.
func (a *AWS) startSession(s session, d time.Duration) Credential {
	s.KeyID = a.keyID("ASIA", "session", fmt.Sprint(a.sessions.Add(1)))
	s.Begun = a.Now()
	s.Expires = s.Begun.Add(d).Truncate(time.Second) // AWS reports whole seconds
	body, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and times: cannot fail
	}
	mac := a.derive("session", string(body))
	return Credential{
		Key{s.KeyID, a.secretKey(s.KeyID)},
		base64.StdEncoding.EncodeToString(append(mac, body...)),
		s.Expires,
	}
}

func (a *AWS) readToken(token string) (session, error) {
	var s session
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(raw) < 32 || string(a.derive("session", string(raw[32:]))) != string(raw[:32]) {
		return s, errBadToken
	}
	return s, json.Unmarshal(raw[32:], &s)
}

// sessionPrincipal returns the principal of a session, nil if its user or role is gone. The caller holds a.mu.
func (a *AWS) sessionPrincipal(s session) *principal {
	c := a.accounts[s.AccountID]
	if c == nil {
		return nil
	}
	p := &principal{account: c, temporary: true, mfa: s.MFA, session: s}
	if s.Role == "" {
		u := c.users[s.User]
		if u == nil {
			return nil
		}
		p.arn, p.iamARN, p.userID, p.user = u.ARN, u.ARN, u.id, u
		return p
	}
	r := c.roles[s.Role]
	if r == nil {
		return nil
	}
	p.revoked = s.Begun.Before(r.revokedBefore)
	p.iamARN, p.userID = r.ARN, r.id+":"+s.Name
	p.arn = c.arn("sts", "assumed-role/"+r.Name+"/"+s.Name)
	return p
}

func (a *AWS) sts(q *request) (*response, *apiError) {
	switch q.action {
	case "GetCallerIdentity":
		return a.getCallerIdentity(q), nil
	case "GetSessionToken":
		return a.getSessionToken(q)
	case "AssumeRole":
		return a.assumeRole(q)
	case "":
		return nil, refuse(http.StatusBadRequest, "MissingAction", "Could not find operation")
	}
	return nil, refuse(
		http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.action,
		cmp.Or(q.form.Get("Version"), "NO_VERSION_SPECIFIED"),
	)
}

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// stsResponse wraps a result in STS's envelope.
func stsResponse(q *request, result func(*xmlWriter)) *response {
	return queryResponse(q, stsNamespace, result)
}

// queryResponse wraps a result in the envelope of the Query protocol. EC2 has an envelope of its own.
func queryResponse(q *request, namespace string, result func(*xmlWriter)) *response {
	m := new(xmlWriter)
	m.begin(q.action+"Response", namespace)
	m.element(q.action+"Result", func() { result(m) })
	m.element("ResponseMetadata", func() { m.text("RequestId", q.id) })
	m.end(q.action + "Response")
	return &response{head: m.buf}
}

func (m *xmlWriter) credentials(c Credential) {
	m.element("Credentials", func() {
		m.text("AccessKeyId", c.ID)
		m.text("SecretAccessKey", c.Secret)
		m.text("SessionToken", c.Token)
		m.text("Expiration", c.Expires.UTC().Format("2006-01-02T15:04:05Z"))
	})
}

func (a *AWS) getCallerIdentity(q *request) *response {
	return stsResponse(q, func(m *xmlWriter) {
		m.text("Arn", q.caller.arn)
		m.text("UserId", q.caller.userID)
		m.text("Account", q.caller.account.ID)
	})
}

func validationError(format string, args ...any) *apiError {
	return refuse(http.StatusBadRequest, "ValidationError", format, args...)
}

func accessDenied(format string, args ...any) *apiError {
	return refuse(http.StatusForbidden, "AccessDenied", format, args...)
}

// constraintError is AWS's error for a parameter out of its bounds.
func constraintError(value, name, must string) *apiError {
	return validationError(
		"1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s", value, name, must,
	)
}

// sessionDuration reads DurationSeconds between its bounds.
func sessionDuration(q *request, def, least, most time.Duration) (time.Duration, *apiError) {
	v := q.form.Get("DurationSeconds")
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, validationError("1 validation error detected: Value '%s' at 'durationSeconds' is not an integer", v)
	}
	d := time.Duration(n) * time.Second
	if d < least {
		return 0, constraintError(
			v,
			"durationSeconds",
			fmt.Sprintf("have value greater than or equal to %d", int(least.Seconds())),
		)
	}
	if d > most {
		return 0, constraintError(
			v,
			"durationSeconds",
			fmt.Sprintf("have value less than or equal to %d", int(most.Seconds())),
		)
	}
	return d, nil
}

var codePattern = regexp.MustCompile(`^\d{6}$`)

// checkMFA checks SerialNumber and TokenCode, if they were sent. It reports whether the caller has proved MFA.
func (a *AWS) checkMFA(q *request) (bool, *apiError) {
	serial, code := q.form.Get("SerialNumber"), q.form.Get("TokenCode")
	if serial == "" && code == "" {
		return false, nil
	}
	if serial == "" || code == "" {
		return false, accessDenied(
			"MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
		)
	}
	if len(code) != 6 {
		return false, constraintError(
			code,
			"tokenCode",
			"have length "+map[bool]string{true: "less", false: "greater"}[len(code) > 6]+" than or equal to 6",
		)
	}
	if !codePattern.MatchString(code) {
		return false, constraintError(code, "tokenCode", `satisfy regular expression pattern: [\d]*`)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var device *MFA
	if q.caller.user != nil {
		if i := slices.IndexFunc(q.caller.user.devices, func(m *MFA) bool { return m.Serial == serial }); i >= 0 {
			device = q.caller.user.devices[i]
		}
	}
	if device == nil {
		return false, accessDenied(
			"MultiFactorAuthentication failed, unable to validate MFA code.  " +
				"Please verify your MFA serial number is valid and associated with this user.",
		)
	}
	if !device.consume(code, a.Now()) {
		return false, accessDenied("MultiFactorAuthentication failed with invalid MFA one time pass code. ")
	}
	return true, nil
}

func (a *AWS) getSessionToken(q *request) (*response, *apiError) {
	if q.caller.temporary {
		return nil, accessDenied("Cannot call GetSessionToken with session credentials")
	}
	d, err := sessionDuration(q, 12*time.Hour, 15*time.Minute, 36*time.Hour)
	if err != nil {
		return nil, err
	}
	if why := a.denied(q.caller, "sts:GetSessionToken", q.region); why != "" {
		return nil, accessDenied("User: %s is not authorized to perform: sts:GetSessionToken %s", q.caller.arn, why)
	}
	mfa, err := a.checkMFA(q)
	if err != nil {
		return nil, err
	}
	c := a.startSession(session{AccountID: q.caller.account.ID, User: q.caller.user.Name, MFA: mfa}, d)
	return stsResponse(q, func(m *xmlWriter) { m.credentials(c) }), nil
}

var sessionNamePattern = regexp.MustCompile(`^[\w+=,.@-]*$`)

// checkSessionName checks a RoleSessionName or a SourceIdentity.
func checkSessionName(name, parameter string) *apiError {
	switch {
	case len(name) < 2:
		return constraintError(name, parameter, "have length greater than or equal to 2")
	case len(name) > 64:
		return constraintError(name, parameter, "have length less than or equal to 64")
	case !sessionNamePattern.MatchString(name):
		return constraintError(name, parameter, `satisfy regular expression pattern: [\w+=,.@-]*`)
	}
	return nil
}

// roleNamed finds a role by its ARN, nil if there is none.
func (a *AWS) roleNamed(arn string) *Role {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if c := a.accounts[record.AccountOfARN(arn)]; c != nil {
		r := c.roles[arn[strings.LastIndexByte(arn, '/')+1:]]
		if r != nil && r.ARN == arn {
			return r
		}
	}
	return nil
}

// assumeRole follows https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func (a *AWS) assumeRole(q *request) (*response, *apiError) {
	arn, name := q.form.Get("RoleArn"), q.form.Get("RoleSessionName")
	q.call.RoleSessionName = name
	switch {
	case arn == "":
		return nil, validationError(
			"1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
		)
	case len(arn) < 20:
		return nil, constraintError(arn, "roleArn", "have length greater than or equal to 20")
	case name == "":
		return nil, validationError(
			"1 validation error detected: Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null",
		)
	}
	if err := checkSessionName(name, "roleSessionName"); err != nil {
		return nil, err
	}
	if f := strings.SplitN(arn, ":", 6); len(f) != 6 || f[2] != "iam" || !strings.HasPrefix(f[5], "role/") ||
		f[1] != q.caller.account.Partition {
		return nil, validationError("Request ARN is invalid")
	}
	d, err := sessionDuration(q, time.Hour, 15*time.Minute, 12*time.Hour)
	if err != nil {
		return nil, err
	}
	tags, err := sessionTags(q)
	if err != nil {
		return nil, err
	}
	source := q.form.Get("SourceIdentity")
	if source != "" {
		if err := checkSessionName(source, "sourceIdentity"); err != nil {
			return nil, err
		}
	}
	denied := func(action string) *apiError {
		return accessDenied("User: %s is not authorized to perform: %s on resource: %s", q.caller.arn, action, arn)
	}
	if why := a.denied(q.caller, "sts:AssumeRole", q.region); why != "" {
		return nil, denied("sts:AssumeRole")
	}
	r := a.roleNamed(arn)
	if r == nil {
		return nil, denied("sts:AssumeRole") // AWS does not reveal that a role is missing
	}
	mfa, err := a.checkMFA(q)
	if err != nil {
		return nil, err
	}
	mfa = mfa || q.caller.mfa
	t := a.matchingTrust(r, q.caller, q.form.Get("ExternalId"), mfa)
	switch {
	case t == nil:
		return nil, denied("sts:AssumeRole")
	case len(tags) > 0 && !t.SessionTags:
		return nil, denied("sts:TagSession")
	case source != "" && !t.SourceIdentity:
		return nil, denied("sts:SetSourceIdentity")
	case q.caller.temporary && d > time.Hour:
		return nil, validationError(
			"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
		)
	case d > r.MaxSession:
		return nil, validationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return a.assumedRoleResponse(
		q, r, session{Name: name, Source: cmp.Or(source, q.caller.session.Source), Tags: tags}, d, nil,
	), nil
}

// assumedRoleResponse starts a role's session and writes the response. more adds members to the result. A role's
// session never has aws:MultiFactorAuthPresent, even if it was started with MFA.
func (a *AWS) assumedRoleResponse(q *request, r *Role, s session, d time.Duration, more func(*xmlWriter)) *response {
	s.AccountID, s.Role = r.account.ID, r.Name
	c := a.startSession(s, d)
	return stsResponse(q, func(m *xmlWriter) {
		m.element("AssumedRoleUser", func() {
			m.text("AssumedRoleId", r.id+":"+s.Name)
			m.text("Arn", r.account.arn("sts", "assumed-role/"+r.Name+"/"+s.Name))
		})
		m.credentials(c)
		if s.Source != "" {
			m.text("SourceIdentity", s.Source)
		}
		if more != nil {
			more(m)
		}
	})
}

// sessionTags reads Tags.member.N.Key and .Value.
func sessionTags(q *request) (map[string]string, *apiError) {
	tags := make(map[string]string)
	for n := 1; ; n++ {
		at := "Tags.member." + strconv.Itoa(n)
		k, ok := q.form[at+".Key"]
		if !ok {
			break
		}
		if _, twice := tags[strings.ToLower(k[0])]; twice {
			return nil, refuse(
				http.StatusBadRequest,
				"InvalidParameterValue",
				"Duplicate tag keys found. Please note that Tag keys are case insensitive.",
			)
		}
		tags[strings.ToLower(k[0])] = q.form.Get(at + ".Value")
	}
	if len(tags) > 50 {
		return nil, constraintError(fmt.Sprint(tags), "tags", "have length less than or equal to 50")
	}
	return tags, nil
}

// matchingTrust returns the statement of the role's trust policy that allows the caller, nil if there is none.
func (a *AWS) matchingTrust(r *Role, caller *principal, externalID string, mfa bool) *Trust {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for i := range r.Trust {
		t := &r.Trust[i]
		if t.ExternalID != "" && t.ExternalID != externalID || t.MFA && !mfa {
			continue
		}
		for _, p := range t.Principals {
			if p == "*" || p == caller.account.ID || p == caller.account.arn("iam", "root") || p == caller.iamARN ||
				p == caller.arn {
				return t
			}
		}
	}
	return nil
}

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
