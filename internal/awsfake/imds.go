package awsfake

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// IMDS is the metadata service as one instance sees it.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
type IMDS struct {
	Role       *Role  // nil: the instance has no role
	Region     string // where the instance is
	InstanceID string // "i-…"; the role session's name
	HopLimit   bool   // the PUT's answer never arrives, as from inside a container where the hop limit is 1

	mu   sync.Mutex
	cred Credential
}

// SetIMDS makes the endpoint answer under /latest/ as one instance sees it; nil takes it away.
func (a *AWS) SetIMDS(m *IMDS) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.imds = m
}

// instanceSession is how long credentials from the metadata service and from a container's agent are good for.
const instanceSession = 6 * time.Hour

const imdsTTL = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"

func (a *AWS) serveIMDS(w http.ResponseWriter, r *http.Request) {
	a.mu.RLock()
	m := a.imds
	a.mu.RUnlock()
	if m == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Type", "text/plain")
	if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
		a.serveIMDSToken(w, r, m)
		return
	}
	if !a.goodIMDSToken(r.Header.Get("X-Aws-Ec2-Metadata-Token"), m) {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	const credentials = "/latest/meta-data/iam/security-credentials/"
	switch path := r.URL.Path; {
	case path == "/latest/meta-data/instance-id":
		_, _ = fmt.Fprint(w, m.InstanceID)
	case path == "/latest/meta-data/placement/region":
		_, _ = fmt.Fprint(w, m.Region)
	case path == "/latest/meta-data/placement/availability-zone":
		_, _ = fmt.Fprint(w, m.Region+"a")
	case path == "/latest/dynamic/instance-identity/document" && m.Role != nil:
		writeJSON(w, map[string]any{
			"accountId": m.Role.account.ID, "architecture": "x86_64", "availabilityZone": m.Region + "a", "imageId": "ami-0abcdef1234567890",
			"instanceId": m.InstanceID, "instanceType": "t3.micro", "pendingTime": "2026-01-01T00:00:00Z", "privateIp": "10.0.0.10",
			"region": m.Region, "version": "2017-09-30",
		})
	case m.Role != nil && (path == credentials || path+"/" == credentials):
		_, _ = fmt.Fprint(w, m.Role.Name)
	case m.Role != nil && path == credentials+m.Role.Name:
		a.serveIMDSCredentials(w, m)
	case m.Role != nil && path == "/latest/meta-data/iam/info":
		writeJSON(w, map[string]any{"Code": "Success", "LastUpdated": stamp(a.Now()),
			"InstanceProfileArn": m.Role.account.arn("iam", "instance-profile/"+m.Role.Name), "InstanceProfileId": a.keyID("AIPA", m.Role.ARN)})
	default:
		http.NotFound(w, r)
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client went away
}

func (a *AWS) serveIMDSToken(w http.ResponseWriter, r *http.Request, m *IMDS) {
	if m.HopLimit {
		<-r.Context().Done()
		return
	}
	if r.Header.Get("X-Forwarded-For") != "" {
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get(imdsTTL))
	if err != nil || ttl < 1 || ttl > 21600 {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	until := strconv.FormatInt(a.Now().Add(time.Duration(ttl)*time.Second).Unix(), 10)
	w.Header().Set(imdsTTL, strconv.Itoa(ttl))
	_, _ = fmt.Fprint(w, a.imdsToken(until, m))
}

// imdsToken is "until" and a seal over it, so that no token needs to be remembered.
func (a *AWS) imdsToken(until string, m *IMDS) string {
	return base64.RawURLEncoding.EncodeToString(a.derive("imds", until, m.InstanceID)) + "." + until
}

func (a *AWS) goodIMDSToken(token string, m *IMDS) bool {
	_, until, _ := strings.Cut(token, ".")
	n, err := strconv.ParseInt(until, 10, 64)
	return err == nil && hmac.Equal([]byte(token), []byte(a.imdsToken(until, m))) && a.Now().Unix() < n
}

func (a *AWS) serveIMDSCredentials(w http.ResponseWriter, m *IMDS) {
	if !a.trustsService(m.Role, "ec2.amazonaws.com") {
		writeJSON(w, map[string]any{"Code": "AssumeRoleUnauthorizedAccess", "LastUpdated": stamp(a.Now()),
			"Message": "EC2 cannot assume the role " + m.Role.Name + ". Please see documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc."})
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// The service rotates them well before they end.
	if a.Now().After(m.cred.Expires.Add(-5*time.Minute)) || m.cred.ID == "" {
		m.cred = a.begin(session{AccountID: m.Role.account.ID, Role: m.Role.Name, Name: m.InstanceID}, instanceSession)
	}
	writeJSON(w, map[string]any{"Code": "Success", "LastUpdated": stamp(a.Now()), "Type": "AWS-HMAC",
		"AccessKeyId": m.cred.ID, "SecretAccessKey": m.cred.Secret, "Token": m.cred.Token, "Expiration": stamp(m.cred.Expires)})
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

// A Container is a task's (ECS) or a pod's (EKS) credentials endpoint.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
type Container struct {
	Path  string // "/v2/credentials/…"
	Role  *Role
	Token string // what the Authorization header must be; "" asks for none
	Task  string // the role session's name
}

// AddContainer serves a container's credentials at its path.
func (a *AWS) AddContainer(c Container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.containers[c.Path] = &c
}

func (a *AWS) container(path string) *Container {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.containers[path]
}

func (a *AWS) serveContainer(w http.ResponseWriter, r *http.Request, c *Container) {
	no := func(status int, code, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message})
	}
	switch {
	case r.Method != http.MethodGet:
		no(http.StatusMethodNotAllowed, "InvalidMethod", "only GET is served")
	case c.Token != "" && !hmac.Equal([]byte(r.Header.Get("Authorization")), []byte(c.Token)):
		no(http.StatusUnauthorized, "AccessDenied", "the authorization token is missing or wrong")
	case !a.trustsService(c.Role, "ecs-tasks.amazonaws.com") && !a.trustsService(c.Role, "pods.eks.amazonaws.com"):
		no(http.StatusInternalServerError, "AssumeRoleError", "the role "+c.Role.ARN+" does not trust the service")
	default:
		cred := a.begin(session{AccountID: c.Role.account.ID, Role: c.Role.Name, Name: c.Task}, instanceSession)
		writeJSON(w, map[string]string{"RoleArn": c.Role.ARN, "AccessKeyId": cred.ID, "SecretAccessKey": cred.Secret,
			"Token": cred.Token, "Expiration": stamp(cred.Expires)})
	}
}
