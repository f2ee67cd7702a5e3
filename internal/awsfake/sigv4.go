package awsfake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	amzDate      = "20060102T150405Z"
	maxSkew      = 5 * time.Minute
)

// A scope is the content of the Authorization header.
type scope struct {
	keyID, date, region, service string
	signedHeaders                []string
	signature                    string
}

// readScope parses the Authorization header. Its errors are those of AWS.
func readScope(r *http.Request) (scope, *apiError) {
	var s scope
	h := r.Header.Get("Authorization")
	if h == "" {
		return s, refuse(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	rest, ok := strings.CutPrefix(h, sigAlgorithm)
	if !ok {
		return s, refuse(
			http.StatusBadRequest, "IncompleteSignature", "Unsupported AWS 'algorithm': '%s'.", strings.SplitN(h, " ", 2)[0],
		)
	}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch k {
		case "Credential":
			f := strings.Split(v, "/")
			if len(f) != 5 || f[4] != "aws4_request" {
				return s, refuse(
					http.StatusBadRequest, "IncompleteSignature",
					"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", v,
				)
			}
			s.keyID, s.date, s.region, s.service = f[0], f[1], f[2], f[3]
		case "SignedHeaders":
			s.signedHeaders = strings.Split(v, ";")
		case "Signature":
			s.signature = v
		}
	}
	for _, required := range []struct{ name, value string }{
		{"Credential", s.keyID},
		{"SignedHeaders", strings.Join(s.signedHeaders, "")},
		{"Signature", s.signature},
	} {
		if required.value == "" {
			return s, refuse(
				http.StatusBadRequest, "IncompleteSignature", "Authorization header requires '%s' parameter.", required.name,
			)
		}
	}
	if r.Header.Get("X-Amz-Date") == "" {
		return s, refuse(
			http.StatusBadRequest,
			"IncompleteSignature",
			"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
		)
	}
	return s, nil
}

func securityToken(r *http.Request) string { return r.Header.Get("X-Amz-Security-Token") }

// A principal is the caller of a signed request.
type principal struct {
	account   *Account
	arn       string // of the user or of the session
	iamARN    string // of the user or the role
	userID    string
	user      *User // nil for a role's session
	temporary bool  // signed with temporary credentials
	mfa       bool  // aws:MultiFactorAuthPresent
	revoked   bool  // the session began before the role's sessions were revoked
	session   session
}

// unknownKey is the error for a key that AWS does not know. A region that is not enabled, another partition and a
// missing session token give the same error.
func unknownKey(service string) *apiError {
	if service == "ec2" {
		return refuse(http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials")
	}
	return refuse(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

func expired(service string) *apiError {
	if service == "ec2" {
		return refuse(http.StatusBadRequest, "RequestExpired", "Request has expired.")
	}
	return refuse(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
}

func badSignature(service string) *apiError {
	if service == "ec2" {
		return unknownKey(service)
	}
	return refuse(
		http.StatusForbidden,
		"SignatureDoesNotMatch",
		"The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
	)
}

// skewed is the error for a date that is too far from AWS's clock.
func skewed(service string, sent, now time.Time) *apiError {
	if service == "ec2" {
		return refuse(http.StatusBadRequest, "RequestExpired", "Request has expired.")
	}
	text := fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 5 min.)",
		sent.Format(amzDate), now.Add(-maxSkew).Format(amzDate), now.Format(amzDate))
	if sent.After(now) {
		text = fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)",
			sent.Format(amzDate), now.Add(maxSkew).Format(amzDate), now.Format(amzDate))
	}
	return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "%s", text)
}

// authenticate checks the signature of a request and returns its caller.
func (a *AWS) authenticate(q *request) (*principal, *apiError) {
	now := a.Now()
	p, secret, err := a.principalOf(q, now)
	if err != nil {
		return nil, err
	}
	sent, perr := time.Parse(amzDate, q.http.Header.Get("X-Amz-Date"))
	if perr != nil || sent.Format("20060102") != q.scope.date {
		return nil, badSignature(q.service)
	}
	if d := now.Sub(sent); d > maxSkew || d < -maxSkew {
		return nil, skewed(q.service, sent, now)
	}
	if !hmac.Equal([]byte(sign(q, secret, sent)), []byte(q.scope.signature)) {
		return nil, badSignature(q.service)
	}
	if p.temporary && !now.Before(p.session.Expires) {
		return nil, expired(q.service)
	}
	return p, nil
}

// principalOf returns the owner of the request's key and the secret of the key.
func (a *AWS) principalOf(q *request, now time.Time) (*principal, string, *apiError) {
	unknown := unknownKey(q.service)
	a.mu.RLock()
	defer a.mu.RUnlock()
	var p *principal
	var secret string
	token := securityToken(q.http)
	if k := a.keys[q.scope.keyID]; k != nil {
		if k.inactive || token != "" {
			return nil, "", unknown
		}
		p = &principal{account: k.user.account, arn: k.user.ARN, iamARN: k.user.ARN, userID: k.user.id, user: k.user}
		secret = k.Secret
	} else {
		s, err := a.readToken(token)
		if err != nil || s.KeyID != q.scope.keyID {
			return nil, "", unknown
		}
		if p = a.sessionPrincipal(s); p == nil {
			return nil, "", unknown
		}
		secret = a.secretKey(s.KeyID)
	}
	if p.account.suspended || !p.account.enabled(q.region) {
		return nil, "", unknown
	}
	return p, secret, nil
}

func hmacSHA256(key []byte, s string) []byte {
	m := hmac.New(sha256.New, key)
	_, _ = m.Write([]byte(s))
	return m.Sum(nil)
}

// sign returns the correct signature of the request.
func sign(q *request, secret string, at time.Time) string {
	key := hmacSHA256([]byte("AWS4"+secret), q.scope.date)
	key = hmacSHA256(key, q.scope.region)
	key = hmacSHA256(key, q.scope.service)
	key = hmacSHA256(key, "aws4_request")
	canonical := sha256.Sum256([]byte(canonicalRequest(q)))
	toSign := sigAlgorithm + "\n" + at.Format(amzDate) + "\n" +
		q.scope.date + "/" + q.scope.region + "/" + q.scope.service + "/aws4_request\n" + hex.EncodeToString(canonical[:])
	return hex.EncodeToString(hmacSHA256(key, toSign))
}

func canonicalRequest(q *request) string {
	r := q.http
	var b strings.Builder
	b.WriteString(r.Method + "\n")
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	segments := strings.Split(path, "/") // escaped twice for every service but S3
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	}
	b.WriteString(strings.Join(segments, "/") + "\n")
	b.WriteString(strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20") + "\n")
	signed := slices.Sorted(slices.Values(q.scope.signedHeaders))
	for _, name := range signed {
		var v string
		switch name {
		case "host":
			v = r.Host
		case "content-length":
			v = strconv.FormatInt(r.ContentLength, 10)
		default:
			var vals []string
			for _, s := range r.Header.Values(name) {
				vals = append(vals, strings.Join(strings.Fields(s), " "))
			}
			v = strings.Join(vals, ",")
		}
		b.WriteString(name + ":" + v + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n")
	sum := sha256.Sum256(q.body)
	b.WriteString(hex.EncodeToString(sum[:]))
	return b.String()
}
