package awsfake

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/record"
)

// An Organization is a tree of organizational units with member accounts and a management account.
type Organization struct {
	ID   string // o-…
	Root string // r-…

	aws             *AWS
	management      *Account
	units           map[string]*unit       // by id, including the root; guarded by aws.mu, like all fields below
	members         map[string]*membership // by account id
	delegated       map[string]bool
	legacyResponses bool
	emptyPages      bool
}

type unit struct{ id, name, parent string }

type membership struct {
	Member
	unit     string
	joinedAt time.Time
}

// A Member is what an organization knows of an account.
type Member struct {
	Name, Email string // default: the id, and an address derived from it
	Unit        string // id of its unit; "" is the root
	State       string // ACTIVE where empty; PENDING_ACTIVATION, SUSPENDED, PENDING_CLOSURE, CLOSED
	Tags        map[string]string
}

// NewOrganization creates an organization with the account as management account and first member.
func (c *Account) NewOrganization(name string) *Organization {
	suffix := strings.ToLower(base32NoPad.EncodeToString(c.aws.derive("organization", c.ID)))
	o := &Organization{
		ID: "o-" + suffix[:10], Root: "r-" + suffix[10:14], aws: c.aws, management: c,
		units: map[string]*unit{}, members: map[string]*membership{}, delegated: map[string]bool{},
	}
	o.units[o.Root] = &unit{id: o.Root, name: "Root"}
	c.aws.mu.Lock()
	c.aws.organizations = append(c.aws.organizations, o)
	c.aws.mu.Unlock()
	o.Join(c, Member{Name: name})
	return o
}

// AddUnit adds an organizational unit under a parent, or under the root if parent is "", and returns its id.
func (o *Organization) AddUnit(parent, name string) string {
	o.aws.mu.Lock()
	defer o.aws.mu.Unlock()
	parent = cmp.Or(parent, o.Root)
	if o.units[parent] == nil {
		panic(fmt.Sprintf("awsfake: no unit %s", parent))
	}
	suffix := strings.ToLower(base32NoPad.EncodeToString(o.aws.derive("unit", o.ID, parent, name)))
	u := &unit{id: "ou-" + strings.TrimPrefix(o.Root, "r-") + "-" + suffix[:8], name: name, parent: parent}
	o.units[u.id] = u
	return u.id
}

// Join adds an account as a member, or updates its membership. The keys of a suspended or closed member are refused.
func (o *Organization) Join(c *Account, m Member) {
	o.aws.mu.Lock()
	defer o.aws.mu.Unlock()
	if c.Partition != o.management.Partition {
		panic(fmt.Sprintf("awsfake: %s is in another partition than its organization", c.ID))
	}
	m.Name, m.State = cmp.Or(m.Name, c.ID), cmp.Or(m.State, "ACTIVE")
	m.Email = cmp.Or(m.Email, "aws+"+c.ID+"@example.com")
	unit := cmp.Or(m.Unit, o.Root)
	if o.units[unit] == nil {
		panic(fmt.Sprintf("awsfake: no unit %s", unit))
	}
	c.suspended = m.State != "ACTIVE"
	o.members[c.ID] = &membership{
		Member:   m,
		unit:     unit,
		joinedAt: time.Date(2020, 1, 1, 0, len(o.members), 0, 0, time.UTC),
	}
}

// Leave removes an account from the organization.
func (o *Organization) Leave(id string) {
	o.aws.mu.Lock()
	defer o.aws.mu.Unlock()
	delete(o.members, id)
}

// Delegate makes a member a delegated administrator, which may list what the management account may list.
func (o *Organization) Delegate(id string) {
	o.aws.mu.Lock()
	defer o.aws.mu.Unlock()
	o.delegated[id] = true
}

// SetLegacyResponses makes responses omit State and Paths, as Organizations did before it had them.
func (o *Organization) SetLegacyResponses(on bool) {
	o.aws.mu.Lock()
	defer o.aws.mu.Unlock()
	o.legacyResponses = on
}

// SetEmptyPages inserts an empty page, with a token, before each page.
func (o *Organization) SetEmptyPages(on bool) {
	o.aws.mu.Lock()
	defer o.aws.mu.Unlock()
	o.emptyPages = on
}

// unitPath returns the ids from the root down to a unit. The caller holds aws.mu.
func (o *Organization) unitPath(id string) []string {
	var ids []string
	for u := o.units[id]; u != nil; u = o.units[u.parent] {
		ids = append(ids, u.id)
	}
	slices.Reverse(ids)
	return ids
}

// organizationsTargetPrefix precedes the action in X-Amz-Target.
const organizationsTargetPrefix = "AWSOrganizationsV20161128."

// organizationsRegion returns the signing region of the service in a partition.
// https://docs.aws.amazon.com/general/latest/gr/ao.html
func organizationsRegion(partition string) string {
	if partition == "aws-cn" {
		return "cn-northwest-1"
	}
	p, _ := record.PartitionNamed(partition)
	return p.DefaultRegion
}

// readOrganizationsCall reads the parameters from the JSON body into the form.
func (q *request) readOrganizationsCall() {
	q.action = strings.TrimPrefix(q.http.Header.Get("X-Amz-Target"), organizationsTargetPrefix)
	var in map[string]any
	if json.Unmarshal(q.body, &in) == nil {
		for k, v := range in {
			q.form.Set(k, fmt.Sprint(v))
		}
	}
}

type object = map[string]any

// organization serves AWS Organizations, JSON 1.1.
// https://docs.aws.amazon.com/organizations/latest/APIReference/API_Operations.html
func (a *AWS) organization(q *request) (*response, *apiError) {
	if want := organizationsRegion(q.caller.account.Partition); q.region != want {
		return nil, refuse(
			http.StatusBadRequest, "InvalidSignatureException", "Credential should be scoped to a valid region, not '%s'. ",
			q.region,
		)
	}
	if why := a.denied(q.caller, "organizations:"+q.action, q.region); why != "" {
		return nil, refuse(
			http.StatusBadRequest, "AccessDeniedException",
			"User: %s is not authorized to perform: organizations:%s on resource: * %s", q.caller.arn, q.action, why,
		)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	id := q.caller.account.ID
	at := slices.IndexFunc(a.organizations, func(o *Organization) bool { return o.members[id] != nil })
	if at < 0 {
		return nil, refuse(
			http.StatusBadRequest,
			"AWSOrganizationsNotInUseException",
			"Your account is not a member of an organization.",
		)
	}
	o := a.organizations[at]
	if id != o.management.ID && !o.delegated[id] {
		return nil, refuse(
			http.StatusBadRequest,
			"AccessDeniedException",
			"You don't have permissions to access this resource.",
		)
	}
	parent := q.form.Get("ParentId")
	inUnit := func(m *membership) bool { return parent == "" || m.unit == parent }
	switch q.action {
	case "ListAccountsForParent", "ListOrganizationalUnitsForParent":
		if o.units[parent] == nil {
			return nil, refuse(http.StatusBadRequest, "ParentNotFoundException", "You specified parent that doesn't exist.")
		}
	case "ListParents":
		m := o.members[q.form.Get("ChildId")]
		if m == nil {
			return nil, refuse(http.StatusBadRequest, "ChildNotFoundException", "You specified child that doesn't exist.")
		}
		kind := "ORGANIZATIONAL_UNIT"
		if m.unit == o.Root {
			kind = "ROOT"
		}
		return a.listPage(q, o, "Parents", []object{{"Id": m.unit, "Type": kind}})
	}
	switch q.action {
	case "ListAccounts", "ListAccountsForParent":
		var all []object
		for _, id := range slices.Sorted(maps.Keys(o.members)) {
			if m := o.members[id]; inUnit(m) {
				all = append(all, o.describe(id, m))
			}
		}
		return a.listPage(q, o, "Accounts", all)
	case "ListRoots":
		return a.listPage(
			q, o, "Roots", []object{{"Id": o.Root, "Name": "Root", "Arn": o.arn("root/" + o.ID + "/" + o.Root)}},
		)
	case "ListOrganizationalUnitsForParent":
		var all []object
		for _, id := range slices.Sorted(maps.Keys(o.units)) {
			if u := o.units[id]; u.parent == parent {
				all = append(all, object{"Id": u.id, "Name": u.name, "Arn": o.arn("ou/" + o.ID + "/" + u.id)})
			}
		}
		return a.listPage(q, o, "OrganizationalUnits", all)
	case "ListTagsForResource":
		m := o.members[q.form.Get("ResourceId")]
		if m == nil {
			return nil, refuse(http.StatusBadRequest, "TargetNotFoundException", "You specified a target that doesn't exist.")
		}
		var all []object
		for _, k := range slices.Sorted(maps.Keys(m.Tags)) {
			all = append(all, object{"Key": k, "Value": m.Tags[k]})
		}
		return a.listPage(q, o, "Tags", all)
	}
	return nil, refuse(http.StatusBadRequest, "UnknownOperationException", "")
}

func (o *Organization) arn(resource string) string {
	return "arn:" + o.management.Partition + ":organizations::" + o.management.ID + ":" + resource
}

// describe returns a member as it appears in a response. The caller holds aws.mu.
func (o *Organization) describe(id string, m *membership) object {
	out := object{
		"Id": id, "Arn": o.arn("account/" + o.ID + "/" + id), "Name": m.Name, "Email": m.Email,
		"JoinedMethod": "CREATED", "JoinedTimestamp": m.joinedAt.Unix(), "Status": m.State,
	}
	if m.State == "CLOSED" || m.State == "PENDING_ACTIVATION" { // Status has neither value
		out["Status"] = "SUSPENDED"
	}
	if !o.legacyResponses {
		out["State"] = m.State
		out["Paths"] = []string{o.ID + "/" + strings.Join(o.unitPath(m.unit), "/") + "/" + id + "/"}
	}
	return out
}

// organizationsPageSize is the largest page size and the default.
const organizationsPageSize = 20

// listPage returns one page of a list.
func (a *AWS) listPage(q *request, o *Organization, member string, all []object) (*response, *apiError) {
	n := organizationsPageSize
	if text := q.form.Get("MaxResults"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > organizationsPageSize {
			return nil, refuse(http.StatusBadRequest, "InvalidInputException", "You specified an invalid value for MaxResults.")
		}
	}
	from := 0
	if token := q.form.Get("NextToken"); token != "" {
		var ok bool
		if from, ok = a.readPageToken(q, token); !ok {
			return nil, refuse(http.StatusBadRequest, "InvalidInputException", "You specified an invalid NextToken.")
		}
	}
	begin := from
	if o.emptyPages { // an odd offset is the page that follows the empty page of the even offset before it
		begin = from / 2
		if from%2 == 0 {
			return a.organizationsResponse(q, object{member: []object{}, "NextToken": a.pageToken(q, from+1)}), nil
		}
	}
	begin = min(begin, len(all))
	end := min(begin+n, len(all))
	out := object{member: append([]object{}, all[begin:end]...)}
	if end < len(all) {
		next := end
		if o.emptyPages {
			next *= 2
		}
		out["NextToken"] = a.pageToken(q, next)
	}
	q.call.Items = end - begin
	return a.organizationsResponse(q, out), nil
}

func (a *AWS) organizationsResponse(q *request, v object) *response {
	out := q.json(http.StatusOK, v)
	out.contentType = jsonRPC
	return out
}

const jsonRPC = "application/x-amz-json-1.1"

// organizationsError encodes an error as JSON 1.1, with the codes that services of this protocol use.
func (q *request) organizationsError(e *apiError) *response {
	if code, ok := map[string]string{
		"InvalidClientTokenId": "UnrecognizedClientException", "SignatureDoesNotMatch": "InvalidSignatureException",
		"ExpiredToken": "ExpiredTokenException", "IncompleteSignature": "IncompleteSignatureException",
		"InternalError": "ServiceException", "Unavailable": "ServiceException",
	}[e.code]; ok {
		e.code = code
	}
	q.call.Code = e.code
	b, _ := json.Marshal(map[string]string{"__type": e.code, "Message": e.message}) // strings: cannot fail
	return &response{contentType: jsonRPC, head: b}
}
