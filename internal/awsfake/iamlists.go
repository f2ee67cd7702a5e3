package awsfake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws-collector/collector/record"
)

// An iamList is how IAM lists one kind of resource, a page of at most MaxItems at a time if it is paged.
type iamList struct {
	element string // around the members
	paged   bool
	// members are written in the order of the list, each by one func. The caller holds aws.mu.
	members func(c *Account, q *request) []func(*xmlWriter)
}

// iamLists are the calls that list an account's identities. GetAccountAuthorizationDetails has a list a filter.
var iamLists = map[string]iamList{
	"GetAccountAuthorizationDetails Group":              {"GroupDetailList", true, (*Account).listGroups},
	"GetAccountAuthorizationDetails LocalManagedPolicy": {"Policies", true, (*Account).listPolicies},
	"GetAccountAuthorizationDetails Role":               {"RoleDetailList", true, (*Account).listRoles},
	"GetAccountAuthorizationDetails User":               {"UserDetailList", true, (*Account).listUsers},

	"ListAccessKeys":                 {"AccessKeyMetadata", true, (*Account).listAccessKeys},
	"ListAccountAliases":             {"AccountAliases", true, (*Account).listAliases},
	"ListInstanceProfiles":           {"InstanceProfiles", true, (*Account).listInstanceProfiles},
	"ListMFADevices":                 {"MFADevices", true, (*Account).listMFADevices},
	"ListOpenIDConnectProviders":     {"OpenIDConnectProviderList", false, (*Account).listOpenIDConnectProviders},
	"ListSAMLProviders":              {"SAMLProviderList", false, (*Account).listSAMLProviders},
	"ListSSHPublicKeys":              {"SSHPublicKeys", true, (*Account).listNone},
	"ListServerCertificates":         {"ServerCertificateMetadataList", true, (*Account).listNone},
	"ListServiceSpecificCredentials": {"ServiceSpecificCredentials", true, (*Account).listNone},
	"ListSigningCertificates":        {"Certificates", true, (*Account).listNone},
	"ListVirtualMFADevices":          {"VirtualMFADevices", true, (*Account).listVirtualMFADevices},
}

// iamBucket is the bucket of all calls of an account. AWS does not document its size.
var iamBucket = Bucket{Burst: 50, PerSecond: 10}

// iamMaxItems is the largest page. https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListUsers.html
const iamMaxItems = 1000

// iam serves the calls that list identities, and those about the account.
func (a *AWS) iam(q *request) (*response, *apiError) {
	c := q.caller.account
	l, isList := iamLists[strings.TrimSpace(q.action+" "+q.form.Get("Filter.member.1"))]
	if !isList && q.action != "GetAccountPasswordPolicy" && q.action != "GetAccountSummary" {
		return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.action,
			q.form.Get("Version"))
	}
	ownKeys := q.action == "ListAccessKeys" && q.form.Get("UserName") == ""
	if home, _ := record.PartitionNamed(c.Partition); q.region != home.DefaultRegion && !ownKeys {
		return nil, refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to a valid region.")
	}
	if ownKeys && q.caller.user == nil {
		return nil, validationError("Must specify userName when calling with non-User credentials")
	}
	if !a.buckets.takeFrom(iamBucket, bucketKey{c.ID, q.region, "iam", true}) {
		return nil, refuse(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	if why := a.denied(q.caller, "iam:"+q.action, q.region); why != "" {
		return nil, accessDenied("User: %s is not authorized to perform: iam:%s on resource: * %s", q.caller.arn, q.action,
			why)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if isList {
		return a.iamPage(q, l)
	}
	q.call.Items = 1
	return queryResponse(q, iamNamespace, func(m *xmlWriter) {
		if q.action == "GetAccountSummary" {
			c.summary(m)
		} else {
			passwordPolicy(m)
		}
	}), nil
}

// iamPage returns the page of a list that a call asks for. The caller holds a.mu.
func (a *AWS) iamPage(q *request, l iamList) (*response, *apiError) {
	c := q.caller.account
	name := q.form.Get("UserName")
	if name != "" && c.users[name] == nil && !slices.Contains(staffNames, name) {
		return nil, refuse(http.StatusNotFound, "NoSuchEntity", "The user with name %s cannot be found.", name)
	}
	size, from := 100, 0
	if s := q.form.Get("MaxItems"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > iamMaxItems {
			return nil, constraintError(s, "maxItems", "have value between 1 and "+strconv.Itoa(iamMaxItems))
		}
		size = n
	}
	if token := q.form.Get("Marker"); token != "" {
		at, ok := a.readPageToken(q, token)
		if !ok {
			return nil, validationError("Invalid Marker.")
		}
		from = at
	}
	members := l.members(c, q)
	from = min(from, len(members))
	to := len(members)
	if l.paged {
		to = min(to, from+size)
	}
	q.call.Items = to - from
	return queryResponse(q, iamNamespace, func(m *xmlWriter) {
		if l.paged {
			m.bool("IsTruncated", to < len(members))
		}
		m.element(l.element, func() {
			for _, write := range members[from:to] {
				write(m)
			}
		})
		if to < len(members) {
			m.text("Marker", a.pageToken(q, to))
		}
	}), nil
}

// member returns a func that writes an element of a list.
func member(write func(*xmlWriter)) func(*xmlWriter) {
	return func(m *xmlWriter) { m.element("member", func() { write(m) }) }
}

func (c *Account) listNone(*request) []func(*xmlWriter) { return nil }

func (c *Account) listAliases(*request) []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) { m.text("member", "example-"+c.ID) }}
}

// staffNames are the users that each account has beside those who sign in. deploy made the launch templates.
var staffNames = []string{"ana", "deploy"}

// userNames are the names of all users, sorted.
func (c *Account) userNames() []string {
	names := slices.AppendSeq(slices.Clone(staffNames), maps.Keys(c.users))
	slices.Sort(names)
	return slices.Compact(names)
}

const identitiesCreated = "2023-04-18T09:12:45Z"

// principal writes what users, groups, roles, profiles and policies have in common.
func (c *Account) principal(m *xmlWriter, noun, prefix, path, name string) {
	resource := strings.ToLower(strings.ReplaceAll(noun, "InstanceProfile", "instance-profile"))
	m.text("Path", path)
	m.text(noun+"Name", name)
	m.text(noun+"Id", c.aws.keyID(prefix, c.ID, name))
	m.text("Arn", c.arn("iam", resource+path+name))
	m.text("CreateDate", identitiesCreated)
}

func (c *Account) listUsers(*request) (all []func(*xmlWriter)) {
	for _, name := range c.userNames() {
		all = append(all, member(func(m *xmlWriter) {
			c.principal(m, "User", "AIDA", "/", name)
			m.strings("GroupList", c.groupsOf(name)...)
			m.strings("AttachedManagedPolicies")
			m.element("UserPolicyList", func() {
				if name == "deploy" {
					inlinePolicy(m, "assume-ci", "sts:AssumeRole")
				}
			})
			m.element("Tags", func() {
				if name == "deploy" {
					m.element("member", func() { m.text("Key", "team"); m.text("Value", "platform") })
				}
			})
		}))
	}
	return all
}

// groupsOf returns the groups of a user. ana becomes an administrator from time to time.
func (c *Account) groupsOf(user string) []string {
	switch {
	case user == "ana" && c.aws.evolutions.Load()/10%2 == 1:
		return []string{"administrators", "developers"}
	case slices.Contains(staffNames, user):
		return []string{"developers"}
	}
	return nil
}

func (c *Account) listGroups(*request) (all []func(*xmlWriter)) {
	for _, name := range []string{"administrators", "developers"} {
		all = append(all, member(func(m *xmlWriter) {
			c.principal(m, "Group", "AGPA", "/", name)
			m.element("GroupPolicyList", func() {
				if name == "administrators" {
					inlinePolicy(m, "everything", "*")
				}
			})
			m.element("AttachedManagedPolicies", func() {
				if name == "developers" {
					c.attachedPolicy(m)
				}
			})
		}))
	}
	return all
}

// appPolicy is the account's own managed policy.
const appPolicy = "app-data"

// attachedPolicy writes an attachment of the account's own policy.
func (c *Account) attachedPolicy(m *xmlWriter) {
	m.element("member", func() {
		m.text("PolicyName", appPolicy)
		m.text("PolicyArn", c.arn("iam", "policy/"+appPolicy))
	})
}

func (c *Account) listPolicies(*request) []func(*xmlWriter) {
	return []func(*xmlWriter){member(func(m *xmlWriter) {
		c.principal(m, "Policy", "ANPA", "/", appPolicy)
		m.text("DefaultVersionId", "v2")
		m.int("AttachmentCount", 1+len(workloads))
		m.int("PermissionsBoundaryUsageCount", 0)
		m.bool("IsAttachable", true)
		m.text("UpdateDate", identitiesCreated)
		m.element("PolicyVersionList", func() {
			for version := 2; version > 0; version-- {
				m.element("member", func() {
					m.text("Document", policyDocument(map[string]any{
						"Effect": "Allow", "Action": []string{"s3:GetObject", "s3:ListBucket"}[:version],
						"Resource": "arn:" + c.Partition + ":s3:::data-" + c.ID + "/*",
					}))
					m.text("VersionId", fmt.Sprintf("v%d", version))
					m.bool("IsDefaultVersion", version == 2)
					m.text("CreateDate", identitiesCreated)
				})
			}
		})
	})}
}

// instanceRoles are the names of the roles of instances. An instance profile has the name of its role.
func instanceRoles() (names []string) {
	for _, w := range workloads {
		names = append(names, w+"-instance")
	}
	slices.Sort(names)
	return names
}

func (c *Account) listRoles(*request) (all []func(*xmlWriter)) {
	for _, name := range slices.Sorted(maps.Keys(c.roles)) {
		r := c.roles[name]
		all = append(all, member(func(m *xmlWriter) {
			var trusted []string
			for _, t := range r.Trust {
				trusted = append(trusted, t.Principals...)
			}
			c.role(m, name, r.Path, map[string]any{"AWS": trusted})
			m.strings("InstanceProfileList")
			m.element("RolePolicyList", func() { inlinePolicy(m, "read", "ec2:Describe*") })
			m.strings("AttachedManagedPolicies")
			m.strings("Tags")
		}))
	}
	for _, name := range instanceRoles() {
		if c.roles[name] != nil {
			continue
		}
		all = append(all, member(func(m *xmlWriter) {
			c.instanceRole(m, name)
			m.element("RoleLastUsed", func() {
				m.text("LastUsedDate", formatTime(c.aws.resourceTime()))
				m.text("Region", "us-east-1")
			})
			m.element("InstanceProfileList", func() { c.instanceProfile(m, name) })
			m.strings("RolePolicyList")
			m.element("AttachedManagedPolicies", func() { c.attachedPolicy(m) })
			m.element("Tags", func() {
				m.element("member", func() { m.text("Key", "workload"); m.text("Value", strings.TrimSuffix(name, "-instance")) })
			})
		}))
	}
	return all
}

// role writes what each list shows of a role.
func (c *Account) role(m *xmlWriter, name, path string, trusted map[string]any) {
	c.principal(m, "Role", "AROA", path, name)
	m.text("AssumeRolePolicyDocument", policyDocument(map[string]any{
		"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole",
	}))
}

func (c *Account) instanceRole(m *xmlWriter, name string) {
	c.role(m, name, "/", map[string]any{"Service": "ec2.amazonaws.com"})
}

func (c *Account) listInstanceProfiles(*request) (all []func(*xmlWriter)) {
	for _, name := range instanceRoles() {
		all = append(all, func(m *xmlWriter) { c.instanceProfile(m, name) })
	}
	return all
}

func (c *Account) instanceProfile(m *xmlWriter, name string) {
	m.element("member", func() {
		m.text("Path", "/")
		m.text("InstanceProfileName", name)
		m.text("InstanceProfileId", c.aws.keyID("AIPA", c.ID, name)+"X") // as instances have it
		m.text("Arn", c.arn("iam", "instance-profile/"+name))
		m.text("CreateDate", identitiesCreated)
		m.element("Roles", func() { m.element("member", func() { c.instanceRole(m, name) }) })
	})
}

// listAccessKeys lists the keys of a user, the caller if the call names none. IAM allows two keys a user.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html
func (c *Account) listAccessKeys(q *request) (all []func(*xmlWriter)) {
	name := q.form.Get("UserName")
	if name == "" {
		name = q.caller.user.Name
	}
	var keys []*key
	for _, k := range c.aws.keys {
		if k.user.account == c && k.user.Name == name {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y *key) int { return strings.Compare(x.ID, y.ID) })
	for _, k := range keys {
		all = append(all, member(func(m *xmlWriter) {
			status := "Active"
			if k.inactive {
				status = "Inactive"
			}
			m.text("UserName", k.user.Name)
			m.text("AccessKeyId", k.ID)
			m.text("Status", status)
			m.text("CreateDate", formatTime(k.created))
		}))
	}
	return all
}

func (c *Account) listMFADevices(q *request) (all []func(*xmlWriter)) {
	if u := c.users[q.form.Get("UserName")]; u != nil {
		for _, d := range u.devices {
			all = append(all, member(func(m *xmlWriter) {
				m.text("UserName", u.Name)
				m.text("SerialNumber", d.Serial)
				m.text("EnableDate", identitiesCreated)
			}))
		}
	}
	return all
}

func (c *Account) listVirtualMFADevices(*request) (all []func(*xmlWriter)) {
	for _, name := range slices.Sorted(maps.Keys(c.users)) {
		for _, d := range c.users[name].devices {
			all = append(all, member(func(m *xmlWriter) {
				m.text("SerialNumber", d.Serial)
				m.element("User", func() { c.principal(m, "User", "AIDA", "/", name) })
				m.text("EnableDate", identitiesCreated)
			}))
		}
	}
	return all
}

func (c *Account) listOpenIDConnectProviders(*request) []func(*xmlWriter) {
	return []func(*xmlWriter){member(func(m *xmlWriter) {
		m.text("Arn", c.arn("iam", "oidc-provider/ci.example.com"))
	})}
}

func (c *Account) listSAMLProviders(*request) []func(*xmlWriter) {
	return []func(*xmlWriter){member(func(m *xmlWriter) {
		m.text("Arn", c.arn("iam", "saml-provider/example"))
		m.text("ValidUntil", "2033-04-18T09:12:45Z")
		m.text("CreateDate", identitiesCreated)
	})}
}

func passwordPolicy(m *xmlWriter) {
	m.element("PasswordPolicy", func() {
		m.int("MinimumPasswordLength", 14)
		m.bool("RequireSymbols", true)
		m.bool("RequireNumbers", true)
		m.bool("RequireUppercaseCharacters", true)
		m.bool("RequireLowercaseCharacters", true)
		m.bool("AllowUsersToChangePassword", true)
		m.bool("ExpirePasswords", false)
	})
}

func (c *Account) summary(m *xmlWriter) {
	m.element("SummaryMap", func() {
		entry := func(key string, value int) {
			m.element("entry", func() { m.text("key", key); m.int("value", value) })
		}
		entry("Users", len(c.userNames()))
		entry("Groups", len(c.listGroups(nil)))
		entry("Roles", len(c.listRoles(nil)))
		entry("Policies", len(c.listPolicies(nil)))
		entry("InstanceProfiles", len(c.listInstanceProfiles(nil)))
		entry("MFADevices", len(c.listVirtualMFADevices(nil)))
		entry("AccountMFAEnabled", 1)
		entry("AccountAccessKeysPresent", 0)
	})
}

// inlinePolicy writes a policy of a user, a group or a role.
func inlinePolicy(m *xmlWriter, name, action string) {
	m.element("member", func() {
		m.text("PolicyName", name)
		m.text("PolicyDocument", policyDocument(map[string]any{"Effect": "Allow", "Action": action, "Resource": "*"}))
	})
}

// policyDocument returns a policy with one statement as IAM returns it, in URL encoding (RFC 3986).
func policyDocument(statement map[string]any) string {
	b, err := json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": []any{statement}}, "", "  ")
	if err != nil {
		panic(err) // of texts: cannot fail
	}
	return strings.ReplaceAll(url.QueryEscape(string(b)), "+", "%20")
}
