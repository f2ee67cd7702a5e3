package awsfake

import (
	"crypto/hmac"
	"net/http"
)

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
