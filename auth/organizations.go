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

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// A Roll is who belongs to an organization, as far as a block of the configuration asks. It is whole: a list that broke off is an error.
type OrganizationMembers struct {
	Caller   record.Identity // who asked
	Members  []config.Member // to be collected, by id
	Inactive []config.Member // selected, but not ACTIVE: suspended, about to be closed, not yet activated
	Missing  []string        // of include.accounts: ids that are no members
}

// How Organizations is asked. It throttles hard, over all callers of an organization, and is busy when two ask at once.
const (
	organizationsAttempts = 8
	organizationsBackoff  = 20 * time.Second
	organizationsPage     = 20 // the most that it takes
	organizationsCalls    = 3  // under way at once
	tagCacheTTL           = time.Hour
)

// Members asks AWS Organizations who the members are that the block selects: all of them, or an error that holds a [record.Fault].
// It makes a call for each 20 accounts; where units are asked for, and AWS does not tell them with the accounts, two for each unit; where names of units are
// asked for, one for each unit; where tags are asked for, one for each member whose tags were not read within the last hour.
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
	roll := OrganizationMembers{Caller: session.Identity}
	for _, id := range o.Include.Accounts {
		if !slices.ContainsFunc(accounts, func(m config.Member) bool { return m.ID == id }) {
			roll.Missing = append(roll.Missing, id)
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
			roll.Members = append(roll.Members, m)
		} else {
			roll.Inactive = append(roll.Inactive, m)
		}
	}
	return roll, nil
}

// OrganizationsActions is the IAM actions that a block needs in the account that via signs in to.
func OrganizationsActions(o config.Organization) []string {
	needs, actions := o.RequiredDetails(), []string{"organizations:ListAccounts"}
	if needs.ParentIDs {
		actions = append(actions, "organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent", "organizations:ListParents", "organizations:ListRoots")
	}
	if needs.Tags {
		actions = append(actions, "organizations:ListTagsForResource")
	}
	return actions
}

// organizationsAPI is the operations that are used, as funcs: a client that can be reached from an interface value keeps all
// its methods in the binary.
type organizationsAPI struct {
	ListAccounts                     func(context.Context, *organizations.ListAccountsInput, ...func(*organizations.Options)) (*organizations.ListAccountsOutput, error)
	ListRoots                        func(context.Context, *organizations.ListRootsInput, ...func(*organizations.Options)) (*organizations.ListRootsOutput, error)
	ListAccountsForParent            func(context.Context, *organizations.ListAccountsForParentInput, ...func(*organizations.Options)) (*organizations.ListAccountsForParentOutput, error)
	ListOrganizationalUnitsForParent func(context.Context, *organizations.ListOrganizationalUnitsForParentInput, ...func(*organizations.Options)) (*organizations.ListOrganizationalUnitsForParentOutput, error)
	ListParents                      func(context.Context, *organizations.ListParentsInput, ...func(*organizations.Options)) (*organizations.ListParentsOutput, error)
	ListTagsForResource              func(context.Context, *organizations.ListTagsForResourceInput, ...func(*organizations.Options)) (*organizations.ListTagsForResourceOutput, error)
}

func newOrganizations(cfg aws.Config) *organizationsAPI {
	cfg.HTTPClient = withAttemptTimeout(cfg.HTTPClient)
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff, o.RateLimiter = organizationsAttempts, organizationsBackoff, ratelimit.None
		})
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // always said again by the call
	}
	c := organizations.NewFromConfig(cfg, func(o *organizations.Options) { o.HTTPSignerV4 = uncachedSigner{} })
	return &organizationsAPI{c.ListAccounts, c.ListRoots, c.ListAccountsForParent, c.ListOrganizationalUnitsForParent, c.ListParents, c.ListTagsForResource}
}

// organizationsRegion is the one region of a partition that has the service; the SDK knows its endpoint there.
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

// A lister asks for one block.
type memberLister struct {
	client  *organizationsAPI
	session *Session
	region  string
}

// call makes one call with the session's credentials, with others if AWS takes those no longer.
func (l *memberLister) call(ctx context.Context, operation string, f func(ctx context.Context, with func(*organizations.Options)) error) error {
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

// pages calls until the listing is at its end. An empty page may have others behind it; one token twice never ends.
func (l *memberLister) pages(ctx context.Context, operation string, page func(ctx context.Context, token *string, with func(*organizations.Options)) (next *string, err error)) error {
	var token *string
	for {
		var next *string
		if err := l.call(ctx, operation, func(ctx context.Context, with func(*organizations.Options)) (err error) {
			next, err = page(ctx, token, with)
			return err
		}); err != nil {
			return err
		}
		if aws.ToString(next) == "" {
			return nil
		}
		if token != nil && *token == *next {
			return fault(record.BadAnswer, "AWS Organizations repeats a page for ever; the next run tries again", "%s: the same NextToken came twice", operation)
		}
		token = next
	}
}

func perPage() *int32 { return aws.Int32(organizationsPage) }

// accounts is every member.
func (l *memberLister) accounts(ctx context.Context) (all []config.Member, err error) {
	err = l.pages(ctx, "list the organization's accounts", func(ctx context.Context, token *string, with func(*organizations.Options)) (*string, error) {
		out, err := l.client.ListAccounts(ctx, &organizations.ListAccountsInput{MaxResults: perPage(), NextToken: token}, with)
		if err != nil {
			return nil, err
		}
		for _, a := range out.Accounts {
			all = append(all, newMember(a))
		}
		return out.NextToken, nil
	})
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(m config.Member) bool { // one that moved between pages
		twice := seen[m.ID] || m.ID == ""
		seen[m.ID] = true
		return twice
	})
	return all, err
}

// newMember is AWS's description in our words. Status is the older name of State, and ends in 2026.
func newMember(a types.Account) config.Member {
	m := config.Member{ID: aws.ToString(a.Id), Name: aws.ToString(a.Name), Email: aws.ToString(a.Email), State: cmp.Or(string(a.State), string(a.Status))}
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

// locateAccounts finds the units above each account: AWS tells them with the accounts, or else the tree is walked. names asks for the units' names, which
// only the tree has.
func (l *memberLister) locateAccounts(ctx context.Context, accounts []config.Member, names bool) error {
	told := !slices.ContainsFunc(accounts, func(m config.Member) bool { return len(m.ParentIDs) == 0 })
	if told && !names {
		return nil
	}
	tree := map[string]unit{}
	under := map[string]string{} // account → unit
	level, err := l.roots(ctx)
	for err == nil && len(level) > 0 {
		for _, u := range level {
			tree[u.id] = u
		}
		level, err = l.childUnits(ctx, level, !told, under)
	}
	if err != nil {
		return err
	}
	for i := range accounts {
		m := &accounts[i]
		if !told {
			parent := under[m.ID]
			if parent == "" { // it moved while the tree was walked
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
	err = l.pages(ctx, "list the organization's roots", func(ctx context.Context, token *string, with func(*organizations.Options)) (*string, error) {
		out, err := l.client.ListRoots(ctx, &organizations.ListRootsInput{MaxResults: perPage(), NextToken: token}, with)
		if err != nil {
			return nil, err
		}
		for _, r := range out.Roots {
			units = append(units, unit{id: aws.ToString(r.Id), name: aws.ToString(r.Name)})
		}
		return out.NextToken, nil
	})
	return units, err
}

// childUnits is the units under units, a few at a time; with accounts, also which accounts are in them.
func (l *memberLister) childUnits(ctx context.Context, level []unit, accounts bool, under map[string]string) ([]unit, error) {
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
		return l.pages(ctx, "list the accounts of "+u.id, func(ctx context.Context, token *string, with func(*organizations.Options)) (*string, error) {
			out, err := l.client.ListAccountsForParent(ctx, &organizations.ListAccountsForParentInput{ParentId: &u.id, MaxResults: perPage(), NextToken: token}, with)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, a := range out.Accounts {
				under[aws.ToString(a.Id)] = u.id
			}
			return out.NextToken, nil
		})
	})
	return next, err
}

func (l *memberLister) units(ctx context.Context, parent string) (units []unit, err error) {
	err = l.pages(ctx, "list the units of "+parent, func(ctx context.Context, token *string, with func(*organizations.Options)) (*string, error) {
		out, err := l.client.ListOrganizationalUnitsForParent(ctx, &organizations.ListOrganizationalUnitsForParentInput{ParentId: &parent, MaxResults: perPage(), NextToken: token}, with)
		if err != nil {
			return nil, err
		}
		for _, u := range out.OrganizationalUnits {
			units = append(units, unit{aws.ToString(u.Id), aws.ToString(u.Name), parent})
		}
		return out.NextToken, nil
	})
	return units, err
}

func (l *memberLister) parentOf(ctx context.Context, account string) (string, error) {
	var id string
	err := l.call(ctx, "find the unit of "+account, func(ctx context.Context, with func(*organizations.Options)) error {
		out, err := l.client.ListParents(ctx, &organizations.ListParentsInput{ChildId: &account}, with)
		if err == nil && len(out.Parents) > 0 {
			id = aws.ToString(out.Parents[0].Id)
		}
		return err
	})
	return id, err
}

// checkUnits refuses a filter with a unit that is none: a slip in an id must not pass for a unit that everybody has left.
func (l *memberLister) checkUnits(ctx context.Context, o config.Organization, accounts []config.Member) error {
	for _, id := range slices.Concat(o.Include.OUs, o.Exclude.OUs) {
		if slices.ContainsFunc(accounts, func(m config.Member) bool { return slices.Contains(m.ParentIDs, id) }) {
			continue
		}
		if _, err := l.units(ctx, id); err != nil { // an empty unit is no mistake
			return err
		}
	}
	return nil
}

// readTags reads the accounts' tags.
func (l *memberLister) readTags(ctx context.Context, accounts []config.Member, stored *tagCache) error {
	var old []int
	for i := range accounts {
		m := &accounts[i]
		if tags, ok := stored.get(l.session.Identity.Partition, m.ID); ok {
			m.Tags = tags
			continue
		}
		old = append(old, i)
	}
	return forEachLimited(ctx, old, func(ctx context.Context, i int) error {
		m := &accounts[i]
		tags := map[string]string{}
		err := l.pages(ctx, "list the tags of "+m.ID, func(ctx context.Context, token *string, with func(*organizations.Options)) (*string, error) {
			out, err := l.client.ListTagsForResource(ctx, &organizations.ListTagsForResourceInput{ResourceId: &m.ID, NextToken: token}, with)
			if err != nil {
				return nil, err
			}
			for _, t := range out.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			return out.NextToken, nil
		})
		if err != nil {
			return err
		}
		m.Tags = tags
		stored.set(l.session.Identity.Partition, m.ID, tags)
		return nil
	})
}

// tagCache keeps tags between runs: each costs a call, and they change by the month.
type tagCache struct {
	mu      sync.Mutex
	entries map[[2]string]cachedTags
}

type cachedTags struct {
	tags map[string]string // read only
	at   time.Time
}

func (k *tagCache) get(partition, id string) (map[string]string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.entries[[2]string{partition, id}]
	return t.tags, ok && now().Sub(t.at).Abs() < tagCacheTTL
}

func (k *tagCache) set(partition, id string, tags map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.entries == nil {
		k.entries = map[[2]string]cachedTags{}
	}
	k.entries[[2]string{partition, id}] = cachedTags{tags, now()}
}

// forEachLimited calls f for each, some at a time, and waits. The first error ends the others and is the one that is returned.
func forEachLimited[T any](ctx context.Context, all []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	places := make(chan struct{}, organizationsCalls)
	for _, x := range all {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-places }()
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

// explain is what to do about a refusal.
func (l *memberLister) explain(err error, operation string, used aws.Credentials) error {
	who := l.session.Identity.ARN
	c := errorContext{operation: operation, signer: who, region: l.region, creds: used}
	f := explain(err, c)
	as := new(record.Fault)
	if !errors.As(f, &as) {
		return f
	}
	out := *as
	switch code := record.CodeOf(err); {
	case code == "AWSOrganizationsNotInUseException":
		out.Reason, out.Hint = record.WrongAccount, fmt.Sprintf("account %s is in no organization: `via` must sign in to the management account, or to a delegated administrator's", l.session.Identity.AccountID)
	case code == "ParentNotFoundException":
		out.Reason, out.Hint = record.Other, "`ous` of the block names a unit that the organization does not have: look at its id in the console, or with `aws organizations list-organizational-units-for-parent`"
	case out.Reason == record.AccessDenied:
		out.Hint = fmt.Sprintf("%s needs organizations:List* (\"collector policy organization\" prints what exactly), and must be in the management account or in a delegated administrator's", who)
	case out.Reason == record.BadAnswer:
		out.Hint = fmt.Sprintf("what answered for AWS Organizations in %s is not it: look for a proxy or a login page between here and AWS, and at AWS_ENDPOINT_URL", l.region)
	case out.Reason == record.Throttling:
		out.Hint = "AWS Organizations asked to go slower; the members known last stay, and the next run tries again"
	case out.Reason == record.TimedOut, out.Reason == record.Network:
		out.Hint = fmt.Sprintf("AWS Organizations is asked in %s alone: look at the network, the name service, HTTPS_PROXY and AWS_CA_BUNDLE", l.region)
	}
	return &out
}
