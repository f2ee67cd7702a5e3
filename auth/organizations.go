package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// OrganizationMembers is the list of an organization's members that a block selects. It is never partial: an incomplete
// list is an error.
type OrganizationMembers struct {
	Caller   record.Identity // the identity of via
	Members  []config.Member // to be collected, sorted by id
	Inactive []config.Member // selected, but not ACTIVE: suspended, about to be closed, not yet activated
	Missing  []string        // ids of include.accounts that are not members
}

// Limits of calls to Organizations. It throttles all callers of an organization together, and refuses parallel calls as
// too many.
const (
	organizationsAttempts = 8
	organizationsBackoff  = 20 * time.Second
	organizationsPage     = 20 // the largest that AWS allows
	organizationsCalls    = 3  // in flight
	tagCacheTTL           = time.Hour
)

// Members asks AWS Organizations for the members that the block selects. It returns all of them, or an error that holds
// a [record.Fault]. It makes one call for each 20 accounts. If units are needed and AWS does not list them with the
// accounts, it makes two more for each unit; if names of units are needed, one more for each unit; if tags are needed,
// one more for each member whose tags were not read within the last hour.
func (s *Sessions) Members(ctx context.Context, o config.Organization) (OrganizationMembers, error) {
	session, err := s.Open(ctx, config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect})
	if err != nil {
		return OrganizationMembers{}, err
	}
	l := &memberLister{client: s.organizations, session: session, region: organizationsRegion(session.Identity.Partition)}
	accounts, err := l.accounts(ctx)
	if err != nil {
		return OrganizationMembers{}, err
	}
	needs := o.RequiredDetails()
	if needs.ParentIDs {
		if err := l.locateAccounts(ctx, accounts, needs.OU); err != nil {
			return OrganizationMembers{}, err
		}
		if err := l.checkUnits(ctx, o, accounts); err != nil {
			return OrganizationMembers{}, err
		}
	}
	result := OrganizationMembers{Caller: session.Identity}
	for _, id := range o.Include.Accounts {
		if !slices.ContainsFunc(accounts, func(m config.Member) bool { return m.ID == id }) {
			result.Missing = append(result.Missing, id)
		}
	}
	accounts = slices.DeleteFunc(accounts, func(m config.Member) bool { return !o.SelectsByID(m) })
	if needs.Tags {
		if err := l.readTags(ctx, accounts, &s.tagCache); err != nil {
			return OrganizationMembers{}, err
		}
		accounts = slices.DeleteFunc(accounts, func(m config.Member) bool { return !o.SelectsByTags(m) })
	}
	slices.SortFunc(accounts, func(a, b config.Member) int { return cmp.Compare(a.ID, b.ID) })
	for _, m := range accounts {
		if m.State == config.MemberActive {
			result.Members = append(result.Members, m)
		} else {
			result.Inactive = append(result.Inactive, m)
		}
	}
	return result, nil
}

// OrganizationsActions lists the IAM actions that a block needs in the account that via signs in to.
func OrganizationsActions(o config.Organization) []string {
	needs, actions := o.RequiredDetails(), []string{"organizations:ListAccounts"}
	if needs.ParentIDs {
		actions = append(actions, "organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent",
			"organizations:ListParents", "organizations:ListRoots")
	}
	if needs.Tags {
		actions = append(actions, "organizations:ListTagsForResource")
	}
	return actions
}

type organizationsOption = func(*organizations.Options)

type organizationsCall[In, Out any] func(context.Context, *In, ...organizationsOption) (*Out, error)

// organizationsAPI holds the operations that are used, as funcs: a client that is reachable from an interface value
// keeps all its methods in the binary.
type organizationsAPI struct {
	ListAccounts          organizationsCall[organizations.ListAccountsInput, organizations.ListAccountsOutput]
	ListRoots             organizationsCall[organizations.ListRootsInput, organizations.ListRootsOutput]
	ListAccountsForParent organizationsCall[
		organizations.ListAccountsForParentInput,
		organizations.ListAccountsForParentOutput,
	]
	ListOrganizationalUnitsForParent organizationsCall[
		organizations.ListOrganizationalUnitsForParentInput,
		organizations.ListOrganizationalUnitsForParentOutput,
	]
	ListParents         organizationsCall[organizations.ListParentsInput, organizations.ListParentsOutput]
	ListTagsForResource organizationsCall[organizations.ListTagsForResourceInput, organizations.ListTagsForResourceOutput]
}

func newOrganizations(cfg aws.Config) *organizationsAPI {
	cfg.HTTPClient = withAttemptTimeout(cfg.HTTPClient)
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff, o.RateLimiter = organizationsAttempts, organizationsBackoff, ratelimit.None
		})
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // each call sets its own
	}
	c := organizations.NewFromConfig(cfg, func(o *organizations.Options) { o.HTTPSignerV4 = uncachedSigner{} })
	return &organizationsAPI{
		ListAccounts:                     c.ListAccounts,
		ListRoots:                        c.ListRoots,
		ListAccountsForParent:            c.ListAccountsForParent,
		ListOrganizationalUnitsForParent: c.ListOrganizationalUnitsForParent,
		ListParents:                      c.ListParents,
		ListTagsForResource:              c.ListTagsForResource,
	}
}

// organizationsRegion is the only region of a partition with the service; the SDK knows its endpoint.
// https://docs.aws.amazon.com/general/latest/gr/ao.html
func organizationsRegion(partition string) string {
	if partition == "aws-cn" {
		return "cn-northwest-1"
	}
	p, ok := record.PartitionNamed(partition)
	if !ok {
		p = record.Partitions[0]
	}
	return p.DefaultRegion
}

// A memberLister makes the calls for one block.
type memberLister struct {
	client  *organizationsAPI
	session *Session
	region  string
}

// call makes one call with the session's credentials, and again with new ones if AWS refuses them.
func (l *memberLister) call(
	ctx context.Context,
	operation string,
	f func(ctx context.Context, with organizationsOption) error,
) error {
	used, err := callWithRenewal(ctx, l.session, func(c aws.Credentials) error {
		return f(ctx, func(o *organizations.Options) {
			o.Region = l.region
			o.Credentials = credentials.StaticCredentialsProvider{Value: c}
		})
	})
	if err == nil {
		return nil
	}
	return l.explain(err, operation, used)
}

// A pageFunc gets one page of a list, and returns the token of the next.
type pageFunc func(ctx context.Context, token *string, with organizationsOption) (next *string, err error)

// pages gets all pages of a list. An empty page need not be the last one; a repeated token would never end.
func (l *memberLister) pages(ctx context.Context, operation string, page pageFunc) error {
	var token *string
	for {
		var next *string
		if err := l.call(ctx, operation, func(ctx context.Context, with organizationsOption) (err error) {
			next, err = page(ctx, token, with)
			return err
		}); err != nil {
			return err
		}
		if aws.ToString(next) == "" {
			return nil
		}
		if token != nil && *token == *next {
			return fault.New(record.BadAnswer,
				"Nothing to do: the next run tries again. AWS Organizations returned the same page twice.",
				"%s: AWS returned the same NextToken twice", operation)
		}
		token = next
	}
}

func perPage() *int32 { return aws.Int32(organizationsPage) }

// accounts lists all members.
func (l *memberLister) accounts(ctx context.Context) (all []config.Member, err error) {
	page := func(ctx context.Context, token *string, with organizationsOption) (*string, error) {
		in := &organizations.ListAccountsInput{MaxResults: perPage(), NextToken: token}
		out, err := l.client.ListAccounts(ctx, in, with)
		if err != nil {
			return nil, err
		}
		for _, a := range out.Accounts {
			all = append(all, newMember(a))
		}
		return out.NextToken, nil
	}
	err = l.pages(ctx, "list the organization's accounts", page)
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(m config.Member) bool { // an account may move between pages
		duplicate := seen[m.ID] || m.ID == ""
		seen[m.ID] = true
		return duplicate
	})
	return all, err
}

// newMember converts AWS's description. Status is the old name of State, which AWS removes in 2026.
func newMember(a types.Account) config.Member {
	m := config.Member{
		ID:    aws.ToString(a.Id),
		Name:  aws.ToString(a.Name),
		Email: aws.ToString(a.Email),
		State: cmp.Or(string(a.State), string(a.Status)),
	}
	for _, path := range a.Paths { // o-…/r-…/ou-…/123456789012/
		for _, id := range strings.Split(path, "/") {
			if strings.HasPrefix(id, "r-") || strings.HasPrefix(id, "ou-") {
				m.ParentIDs = append(m.ParentIDs, id)
			}
		}
	}
	return m
}

// A unit is an organizational unit, or the root.
type unit struct{ id, name, parent string }

// locateAccounts finds the units above each account: AWS lists them with the accounts, or else the tree is read. names
// asks for the names of the units, which only the tree has.
func (l *memberLister) locateAccounts(ctx context.Context, accounts []config.Member, names bool) error {
	located := !slices.ContainsFunc(accounts, func(m config.Member) bool { return len(m.ParentIDs) == 0 })
	if located && !names {
		return nil
	}
	tree := map[string]unit{}
	unitOf := map[string]string{} // by account
	level, err := l.roots(ctx)
	for err == nil && len(level) > 0 {
		for _, u := range level {
			tree[u.id] = u
		}
		level, err = l.childUnits(ctx, level, !located, unitOf)
	}
	if err != nil {
		return err
	}
	for i := range accounts {
		m := &accounts[i]
		if !located {
			parent := unitOf[m.ID]
			if parent == "" { // it moved while the tree was read
				if parent, err = l.parentOf(ctx, m.ID); err != nil {
					return err
				}
			}
			m.ParentIDs = nil
			for u, ok := tree[parent]; ok; u, ok = tree[u.parent] {
				m.ParentIDs = append(m.ParentIDs, u.id)
			}
			slices.Reverse(m.ParentIDs)
		}
		var path []string
		for _, id := range m.ParentIDs {
			if strings.HasPrefix(id, "ou-") {
				path = append(path, cmp.Or(tree[id].name, id))
			}
		}
		m.OU = strings.Join(path, "/")
	}
	return nil
}

func (l *memberLister) roots(ctx context.Context) (units []unit, err error) {
	page := func(ctx context.Context, token *string, with organizationsOption) (*string, error) {
		in := &organizations.ListRootsInput{MaxResults: perPage(), NextToken: token}
		out, err := l.client.ListRoots(ctx, in, with)
		if err != nil {
			return nil, err
		}
		for _, r := range out.Roots {
			units = append(units, unit{id: aws.ToString(r.Id), name: aws.ToString(r.Name)})
		}
		return out.NextToken, nil
	}
	err = l.pages(ctx, "list the organization's roots", page)
	return units, err
}

// childUnits lists the units under units, a few at a time; with accounts, it also adds their accounts to unitOf.
func (l *memberLister) childUnits(
	ctx context.Context,
	level []unit,
	accounts bool,
	unitOf map[string]string,
) ([]unit, error) {
	var mu sync.Mutex
	var next []unit
	err := forEachLimited(ctx, level, func(ctx context.Context, u unit) error {
		found, err := l.units(ctx, u.id)
		if err != nil {
			return err
		}
		mu.Lock()
		next = append(next, found...)
		mu.Unlock()
		if !accounts {
			return nil
		}
		page := func(ctx context.Context, token *string, with organizationsOption) (*string, error) {
			in := &organizations.ListAccountsForParentInput{ParentId: &u.id, MaxResults: perPage(), NextToken: token}
			out, err := l.client.ListAccountsForParent(ctx, in, with)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, a := range out.Accounts {
				unitOf[aws.ToString(a.Id)] = u.id
			}
			return out.NextToken, nil
		}
		return l.pages(ctx, "list the accounts of "+u.id, page)
	})
	return next, err
}

func (l *memberLister) units(ctx context.Context, parent string) (units []unit, err error) {
	page := func(ctx context.Context, token *string, with organizationsOption) (*string, error) {
		in := &organizations.ListOrganizationalUnitsForParentInput{
			ParentId: &parent, MaxResults: perPage(), NextToken: token,
		}
		out, err := l.client.ListOrganizationalUnitsForParent(ctx, in, with)
		if err != nil {
			return nil, err
		}
		for _, u := range out.OrganizationalUnits {
			units = append(units, unit{aws.ToString(u.Id), aws.ToString(u.Name), parent})
		}
		return out.NextToken, nil
	}
	err = l.pages(ctx, "list the units of "+parent, page)
	return units, err
}

func (l *memberLister) parentOf(ctx context.Context, account string) (string, error) {
	var id string
	err := l.call(ctx, "find the unit of "+account, func(ctx context.Context, with organizationsOption) error {
		out, err := l.client.ListParents(ctx, &organizations.ListParentsInput{ChildId: &account}, with)
		if err == nil && len(out.Parents) > 0 {
			id = aws.ToString(out.Parents[0].Id)
		}
		return err
	})
	return id, err
}

// checkUnits refuses a filter with an unknown unit: a mistyped id must not be treated as an empty unit.
func (l *memberLister) checkUnits(ctx context.Context, o config.Organization, accounts []config.Member) error {
	for _, id := range slices.Concat(o.Include.OUs, o.Exclude.OUs) {
		if slices.ContainsFunc(accounts, func(m config.Member) bool { return slices.Contains(m.ParentIDs, id) }) {
			continue
		}
		if _, err := l.units(ctx, id); err != nil { // an empty unit is allowed
			return err
		}
	}
	return nil
}

// readTags sets the accounts' tags.
func (l *memberLister) readTags(ctx context.Context, accounts []config.Member, cache *tagCache) error {
	partition := l.session.Identity.Partition
	var uncached []int
	for i := range accounts {
		m := &accounts[i]
		if tags, ok := cache.get(partition, m.ID); ok {
			m.Tags = tags
			continue
		}
		uncached = append(uncached, i)
	}
	return forEachLimited(ctx, uncached, func(ctx context.Context, i int) error {
		m := &accounts[i]
		tags := map[string]string{}
		page := func(ctx context.Context, token *string, with organizationsOption) (*string, error) {
			in := &organizations.ListTagsForResourceInput{ResourceId: &m.ID, NextToken: token}
			out, err := l.client.ListTagsForResource(ctx, in, with)
			if err != nil {
				return nil, err
			}
			for _, t := range out.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			return out.NextToken, nil
		}
		if err := l.pages(ctx, "list the tags of "+m.ID, page); err != nil {
			return err
		}
		m.Tags = tags
		cache.set(partition, m.ID, tags)
		return nil
	})
}

// tagCache caches tags between runs: each read costs a call, and tags change rarely.
type tagCache struct {
	mu      sync.Mutex
	entries map[[2]string]cachedTags
}

type cachedTags struct {
	tags map[string]string // read only
	at   time.Time
}

func (c *tagCache) get(partition, id string) (map[string]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.entries[[2]string{partition, id}]
	return t.tags, ok && now().Sub(t.at).Abs() < tagCacheTTL
}

func (c *tagCache) set(partition, id string, tags map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[[2]string]cachedTags{}
	}
	c.entries[[2]string{partition, id}] = cachedTags{tags, now()}
}

// forEachLimited calls f for each element, a few at a time, and waits. The first error ends the others and is returned.
func forEachLimited[T any](ctx context.Context, all []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, organizationsCalls)
	for _, x := range all {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, x); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// explain adds the hints for Organizations to an error.
func (l *memberLister) explain(err error, operation string, used aws.Credentials) error {
	caller := l.session.Identity.ARN
	explained := explain(err, errorContext{operation: operation, signer: caller, region: l.region, creds: used})
	f := new(record.Fault)
	if !errors.As(explained, &f) {
		return explained
	}
	out := *f
	switch code := record.CodeOf(err); {
	case code == "AWSOrganizationsNotInUseException":
		out.Reason = record.WrongAccount
		out.Hint = fmt.Sprintf("Let `via` sign in to the management account or to the account of a delegated administrator: "+
			"account %s is not in an organization.", l.session.Identity.AccountID)
	case code == "ParentNotFoundException":
		out.Reason = record.Other
		out.Hint = "Correct `ous` of the block: it names a unit that the organization does not have. Look up the id in the " +
			"console, or with `aws organizations list-organizational-units-for-parent`."
	case out.Reason == record.AccessDenied:
		out.Hint = fmt.Sprintf("Allow %s organizations:List* (`collector policy organization` prints the exact actions), "+
			"in the management account or in the account of a delegated administrator.", caller)
	case out.Reason == record.BadAnswer:
		out.Hint = fmt.Sprintf("Look for a proxy or a login page between here and AWS, and check AWS_ENDPOINT_URL: "+
			"the response to a call of AWS Organizations in %s did not come from it.", l.region)
	case out.Reason == record.Throttling:
		out.Hint = "Nothing to do: AWS Organizations throttles calls. The known members stay, and the next run tries again."
	case out.Reason == record.TimedOut, out.Reason == record.Network:
		out.Hint = fmt.Sprintf("Check the network, DNS, HTTPS_PROXY and AWS_CA_BUNDLE: "+
			"AWS Organizations has an endpoint only in %s.", l.region)
	}
	return &out
}
