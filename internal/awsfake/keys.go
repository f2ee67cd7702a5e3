package awsfake

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// SetKeyCreated sets the creation date of a key.
func (u *User) SetKeyCreated(id string, at time.Time) {
	a := u.account.aws
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.keys[id]; k != nil {
		k.created = at
	}
}

const iamNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"

// iam serves ListAccessKeys, the one IAM call that the collector makes.
func (a *AWS) iam(q *request) (*response, *apiError) {
	if q.action != "ListAccessKeys" {
		return nil, refuse(
			http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.action,
			cmp.Or(q.form.Get("Version"), "NO_VERSION_SPECIFIED"),
		)
	}
	return a.listAccessKeys(q)
}

// listAccessKeys lists the keys of the caller; the parameter UserName, for administrators, is not served. IAM allows
// two keys a user, so there is only one page.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html
func (a *AWS) listAccessKeys(q *request) (*response, *apiError) {
	if q.caller.user == nil {
		return nil, validationError("Must specify userName when calling with non-User credentials")
	}
	if why := a.denied(q.caller, "iam:ListAccessKeys", q.region); why != "" {
		return nil, accessDenied(
			"User: %s is not authorized to perform: iam:ListAccessKeys on resource: user %s %s", q.caller.arn,
			q.caller.user.Name, why,
		)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	var keys []*key
	for _, k := range a.keys {
		if k.user == q.caller.user {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y *key) int { return cmp.Compare(x.ID, y.ID) })
	return queryResponse(q, iamNamespace, func(m *xmlWriter) {
		m.text("IsTruncated", "false")
		m.element("AccessKeyMetadata", func() {
			for _, k := range keys {
				m.element("member", func() {
					status := "Active"
					if k.inactive {
						status = "Inactive"
					}
					m.text("UserName", k.user.Name)
					m.text("AccessKeyId", k.ID)
					m.text("Status", status)
					m.text("CreateDate", k.created.UTC().Format(time.RFC3339))
				})
			}
		})
	}), nil
}
