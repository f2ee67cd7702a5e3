package awsfake

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// IMDS is the metadata service (version 2) of one instance. Version 1, a call without a token, is refused.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
type IMDS struct {
	Role           *Role  // nil: the instance has no role
	Region         string // of the instance
	InstanceID     string // "i-…"; the role session's name
	BeyondHopLimit bool   // the PUT gets no response, as inside a container where the hop limit is 1

	mu   sync.Mutex
	cred Credential
}

// SetIMDS serves an instance's metadata service under /latest/; nil removes it.
func (a *AWS) SetIMDS(m *IMDS) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.imds = m
}

// instanceSessionDuration is how long credentials of the metadata service and of the container endpoint are valid.
const instanceSessionDuration = 6 * time.Hour

const (
	imdsTTL   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	imdsToken = "X-Aws-Ec2-Metadata-Token"
	imdsRole  = "/latest/meta-data/iam/security-credentials/"
)

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// plain returns a text response, for services without signed requests.
func (q *request) plain(status int, body string) *response {
	q.call.Status = status
	if status >= 400 {
		q.call.Code = http.StatusText(status)
	}
	return &response{contentType: "text/plain", head: []byte(body)}
}

func (q *request) json(status int, v any) *response {
	out := q.plain(status, "")
	out.contentType = "application/json"
	out.head, _ = json.Marshal(v) // maps of strings and numbers: cannot fail
	return out
}

func (a *AWS) serveIMDS(q *request) *response {
	a.mu.RLock()
	m := a.imds
	a.mu.RUnlock()
	if m == nil {
		return q.plain(http.StatusNotFound, "")
	}
	r := q.http
	if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
		return a.newIMDSToken(q, m)
	}
	if !a.validIMDSToken(r.Header.Get(imdsToken), m) {
		return q.plain(http.StatusUnauthorized, "")
	}
	if m.Role != nil {
		q.call.AccountID = m.Role.account.ID
	}
	switch path := r.URL.Path; {
	case path == "/latest/meta-data/instance-id":
		return q.plain(http.StatusOK, m.InstanceID)
	case path == "/latest/meta-data/placement/region":
		return q.plain(http.StatusOK, m.Region)
	case path == "/latest/meta-data/placement/availability-zone":
		return q.plain(http.StatusOK, m.Region+"a")
	case path == "/latest/dynamic/instance-identity/document" && m.Role != nil:
		return q.json(http.StatusOK, map[string]any{
			"accountId":        m.Role.account.ID,
			"architecture":     "x86_64",
			"availabilityZone": m.Region + "a",
			"imageId":          "ami-0abcdef1234567890",
			"instanceId":       m.InstanceID,
			"instanceType":     "t3.micro",
			"pendingTime":      "2026-01-01T00:00:00Z",
			"privateIp":        "10.0.0.10",
			"region":           m.Region,
			"version":          "2017-09-30",
		})
	case m.Role != nil && path+"/" == imdsRole, m.Role != nil && path == imdsRole:
		return q.plain(http.StatusOK, m.Role.Name)
	case m.Role != nil && path == imdsRole+m.Role.Name:
		return a.imdsCredentials(q, m)
	case m.Role != nil && path == "/latest/meta-data/iam/info":
		return q.json(http.StatusOK, map[string]any{
			"Code":               "Success",
			"LastUpdated":        formatTime(a.Now()),
			"InstanceProfileArn": m.Role.account.arn("iam", "instance-profile/"+m.Role.Name),
			"InstanceProfileId":  a.keyID("AIPA", m.Role.ARN),
		})
	}
	return q.plain(http.StatusNotFound, "")
}

func (a *AWS) newIMDSToken(q *request, m *IMDS) *response {
	if m.BeyondHopLimit {
		<-q.http.Context().Done()
		return nil
	}
	if q.http.Header.Get("X-Forwarded-For") != "" {
		return q.plain(http.StatusForbidden, "")
	}
	ttl, err := strconv.Atoi(q.http.Header.Get(imdsTTL))
	if err != nil || ttl < 1 || ttl > 21600 {
		return q.plain(http.StatusBadRequest, "")
	}
	until := strconv.FormatInt(a.Now().Add(time.Duration(ttl)*time.Second).Unix(), 10)
	out := q.plain(http.StatusOK, a.signIMDSToken(until, m))
	out.header = http.Header{imdsTTL: {strconv.Itoa(ttl)}}
	return out
}

// signIMDSToken makes a token of an HMAC and the expiry, so that no token needs to be stored.
func (a *AWS) signIMDSToken(until string, m *IMDS) string {
	return base64.RawURLEncoding.EncodeToString(a.derive("imds", until, m.InstanceID)) + "." + until
}

func (a *AWS) validIMDSToken(token string, m *IMDS) bool {
	_, until, _ := strings.Cut(token, ".")
	n, err := strconv.ParseInt(until, 10, 64)
	return err == nil && hmac.Equal([]byte(token), []byte(a.signIMDSToken(until, m))) && a.Now().Unix() < n
}

func (a *AWS) imdsCredentials(q *request, m *IMDS) *response {
	if !a.trustsService(m.Role, "ec2.amazonaws.com") {
		return q.json(http.StatusOK, map[string]any{
			"Code":        "AssumeRoleUnauthorizedAccess",
			"LastUpdated": formatTime(a.Now()),
			"Message": "EC2 cannot assume the role " + m.Role.Name + ". Please see documentation at " +
				"https://docs.aws.amazon.com/IAM/latest/UserGuide/" +
				"troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc.",
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// AWS provides new credentials at least five minutes before the old ones expire.
	if m.cred.ID == "" || a.Now().After(m.cred.Expires.Add(-5*time.Minute)) {
		m.cred = a.startSession(
			session{AccountID: m.Role.account.ID, Role: m.Role.Name, Name: m.InstanceID},
			instanceSessionDuration,
		)
	}
	return q.json(http.StatusOK, map[string]any{
		"Code":            "Success",
		"LastUpdated":     formatTime(a.Now()),
		"Type":            "AWS-HMAC",
		"AccessKeyId":     m.cred.ID,
		"SecretAccessKey": m.cred.Secret,
		"Token":           m.cred.Token,
		"Expiration":      formatTime(m.cred.Expires),
	})
}

// trustsService reports whether a service may assume the role.
func (a *AWS) trustsService(r *Role, service string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, t := range r.Trust {
		for _, p := range t.Principals {
			if p == service || p == service+".cn" {
				return true
			}
		}
	}
	return false
}

// A Container is the credentials endpoint of an ECS task or an EKS pod.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
type Container struct {
	Path  string // "/v2/credentials/…"
	Role  *Role
	Token string // required value of the Authorization header; "" for none
	Task  string // the role session's name
}

// AddContainer serves a container's credentials at its path.
func (a *AWS) AddContainer(c Container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.containers[c.Path] = &c
}

func (a *AWS) containerAt(path string) *Container {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.containers[path]
}

func (a *AWS) serveContainer(q *request, c *Container) *response {
	q.call.AccountID = c.Role.account.ID
	fail := func(status int, code, message string) *response {
		return q.json(status, map[string]string{"code": code, "message": message})
	}
	switch {
	case q.http.Method != http.MethodGet:
		return fail(http.StatusMethodNotAllowed, "InvalidMethod", "only GET is served")
	case c.Token != "" && !hmac.Equal([]byte(q.http.Header.Get("Authorization")), []byte(c.Token)):
		return fail(http.StatusUnauthorized, "AccessDenied", "the authorization token is missing or wrong")
	case !a.trustsService(c.Role, "ecs-tasks.amazonaws.com") && !a.trustsService(c.Role, "pods.eks.amazonaws.com"):
		return fail(http.StatusInternalServerError, "AssumeRoleError", "the role "+c.Role.ARN+" does not trust the service")
	}
	cred := a.startSession(session{AccountID: c.Role.account.ID, Role: c.Role.Name, Name: c.Task}, instanceSessionDuration)
	return q.json(http.StatusOK, map[string]string{
		"RoleArn":         c.Role.ARN,
		"AccessKeyId":     cred.ID,
		"SecretAccessKey": cred.Secret,
		"Token":           cred.Token,
		"Expiration":      formatTime(cred.Expires),
	})
}
