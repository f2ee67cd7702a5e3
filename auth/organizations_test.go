package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// An org is an organization whose management account is the fixture's home: two workloads in units of their own, one
// sandbox, one suspended account.
type org struct {
	*fixture
	of                     *awsfake.Organization
	workloads, prod, play  string // units
	delegated              *awsfake.Account
	suspended, sandbox, db *awsfake.Account
}

func newOrg(t *testing.T) *org {
	w := newFixture(t, awsfake.Options{})
	o := &org{fixture: w, of: w.home.NewOrganization("management")}
	o.workloads = o.of.AddUnit("", "Workloads")
	o.prod, o.play = o.of.AddUnit(o.workloads, "Prod"), o.of.AddUnit("", "Sandbox")
	tags := map[string]string{"env": "prod", "cost-center": "42"}
	o.of.Join(w.other, awsfake.Member{Name: "shop", Unit: o.prod, Tags: tags})
	o.delegated, o.db = w.aws.AddAccount("444444444444", "aws"), w.aws.AddAccount("555555555555", "aws")
	o.sandbox, o.suspended = w.aws.AddAccount("666666666666", "aws"), w.aws.AddAccount("777777777777", "aws")
	o.of.Join(o.delegated, awsfake.Member{Name: "audit", Unit: o.workloads, Tags: map[string]string{"env": "test"}})
	o.of.Join(o.db, awsfake.Member{Name: "db", Unit: o.prod, Tags: map[string]string{"env": "production"}})
	o.of.Join(o.sandbox, awsfake.Member{Name: "play", Unit: o.play})
	o.of.Join(o.suspended, awsfake.Member{
		Name: "old", Unit: o.prod, State: "SUSPENDED", Tags: map[string]string{"env": "prod"},
	})
	o.of.Delegate(o.delegated.ID)
	return o
}

func (o *org) block(edit ...func(*config.Organization)) config.Organization {
	b := config.Organization{Via: o.ak().SignIn, MemberRole: "reader", Name: "{{.ID}}", Label: "organization:1"}
	for _, f := range edit {
		f(&b)
	}
	return b
}

func ids(ms []config.Member) string {
	var all []string
	for _, m := range ms {
		all = append(all, m.ID[:1])
	}
	return strings.Join(all, "")
}

// TestMembers: each filter, alone and with others, and how many calls it makes.
func TestMembers(t *testing.T) {
	include := func(m config.MemberFilter) func(*config.Organization) {
		return func(o *config.Organization) { o.Include = m }
	}
	exclude := func(m config.MemberFilter) func(*config.Organization) {
		return func(o *config.Organization) { o.Exclude = m }
	}
	for _, tt := range []struct {
		name     string
		edit     func(o *org) []func(*config.Organization)
		want     string // first digits
		inactive string
		calls    int // to Organizations
		old      int // the same if AWS lists accounts without Paths
	}{
		{"everybody", func(*org) []func(*config.Organization) { return nil }, "12456", "7", 1, 1},
		{"a unit and what is below it", func(o *org) []func(*config.Organization) {
			return []func(*config.Organization){include(config.MemberFilter{OUs: []string{o.workloads}})}
		}, "245", "7", 1, 10},
		{"the root", func(o *org) []func(*config.Organization) {
			return []func(*config.Organization){include(config.MemberFilter{OUs: []string{o.of.Root}})}
		}, "12456", "7", 1, 10},
		{"but one unit", func(o *org) []func(*config.Organization) {
			return []func(*config.Organization){exclude(config.MemberFilter{OUs: []string{o.prod}})}
		}, "146", "", 1, 10},
		{"ids", func(o *org) []func(*config.Organization) {
			accounts := []string{"222222222222", "777777777777", "999999999999"}
			return []func(*config.Organization){include(config.MemberFilter{Accounts: accounts})}
		}, "2", "7", 1, 1},
		{"but ids", func(o *org) []func(*config.Organization) {
			accounts := []string{"111111111111", "777777777777"}
			return []func(*config.Organization){exclude(config.MemberFilter{Accounts: accounts})}
		}, "2456", "", 1, 1},
		{"tags", func(o *org) []func(*config.Organization) {
			return []func(*config.Organization){include(config.MemberFilter{Tags: map[string]string{"env": "prod*"}})}
		}, "25", "7", 7, 7},
		{"a tag that is there", func(o *org) []func(*config.Organization) {
			return []func(*config.Organization){exclude(config.MemberFilter{Tags: map[string]string{"env": "*"}})}
		}, "16", "", 7, 7},
		{"a unit and a tag, and not that one", func(o *org) []func(*config.Organization) {
			return []func(*config.Organization){
				include(config.MemberFilter{OUs: []string{o.workloads}, Tags: map[string]string{"env": "*"}}),
				exclude(config.MemberFilter{Tags: map[string]string{"env": "production"}}),
			}
		}, "24", "7", 5, 14}, // only the tags of the unit's accounts
	} {
		for _, old := range []bool{false, true} {
			for _, sparse := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, old %t, sparse %t", tt.name, old, sparse), func(t *testing.T) {
					o := newOrg(t)
					o.of.SetLegacyResponses(old)
					o.of.SetEmptyPages(sparse)
					members, err := o.sessions(Options{}).Members(t.Context(), o.block(tt.edit(o)...))
					if err != nil {
						t.Fatal(err)
					}
					if got := ids(members.Members); got != tt.want {
						t.Errorf("members %s, want %s", got, tt.want)
					}
					if got := ids(members.Inactive); got != tt.inactive {
						t.Errorf("inactive %s, want %s", got, tt.inactive)
					}
					if missing := tt.name == "ids"; missing != slices.Equal(members.Missing, []string{"999999999999"}) {
						t.Errorf("missing %v", members.Missing)
					}
					if members.Caller.AccountID != o.home.ID {
						t.Errorf("caller %+v", members.Caller)
					}
					calls := o.aws.Calls(func(c *awsfake.Call) bool { return c.Service == "organizations" })
					want := tt.calls
					if old {
						want = tt.old
					}
					if got := len(calls); !sparse && got != want {
						t.Errorf("%d calls, want %d", got, want)
					}
					for _, c := range calls {
						if c.Region != "us-east-1" || c.Action != "ListTagsForResource" && c.Params["MaxResults"] != "20" {
							t.Errorf("%s in %s with %v", c.Action, c.Region, c.Params)
						}
					}
				})
			}
		}
	}
}

// TestMembersAccounts: members sign in with the role, the caller's account without one; templates use names and tags.
func TestMembersAccounts(t *testing.T) {
	o := newOrg(t)
	trust := trusting(o.home.ID)
	for _, a := range []*awsfake.Account{o.db, o.sandbox} {
		a.AddRole("reader", trust)
	}
	b := o.block(func(b *config.Organization) {
		b.Name = "{{.Name}}"
		b.ExtraTags = map[string]string{
			"who":  "{{.Name}} {{.ID}} <{{.Email}}>",
			"unit": "{{.OU}}",
			"env":  "{{or .Tags.env `none`}}",
			"cc":   `{{index .Tags "cost-center"}}`,
		}
	})
	s := o.sessions(Options{})
	for _, old := range []bool{false, true} {
		o.of.SetLegacyResponses(old)
		members, err := s.Members(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		accounts, err := b.MemberAccounts(members.Caller, members.Members)
		if err != nil {
			t.Fatal(err)
		}
		byName := map[string]config.Account{}
		for _, a := range accounts {
			byName[a.Name] = a
		}
		for name, want := range map[string]string{
			"shop": "map[cc:42 env:prod unit:Workloads/Prod " +
				"who:shop 222222222222 <aws+222222222222@example.com>]",
			"management": "map[cc: env:none unit: who:management 111111111111 <aws+111111111111@example.com>]",
		} {
			if got := fmt.Sprint(byName[name].ExtraTags); got != want {
				t.Error(got)
			}
		}
		for name, arn := range map[string]string{
			"management": "arn:aws:iam::111111111111:user/alice",
			"shop":       "arn:aws:sts::222222222222:assumed-role/reader/collector",
			"db":         "arn:aws:sts::555555555555:assumed-role/reader/collector",
		} {
			if got := o.open(s, byName[name]).Identity.ARN; got != arn {
				t.Errorf("%s is %s, want %s", name, got, arn)
			}
		}
		o.refused(s, byName["audit"], record.AssumeDenied, "444444444444") // the account has no such role
	}
}

// TestMembersThousand: how many calls a thousand accounts need, and the second time.
func TestMembersThousand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, awsfake.Options{Latency: 100 * time.Millisecond})
		of := w.home.NewOrganization("management")
		unit := of.AddUnit("", "Workloads")
		for i := range 999 {
			account := w.aws.AddAccount(fmt.Sprintf("300000000%03d", i), "aws")
			of.Join(account, awsfake.Member{Unit: unit, Tags: map[string]string{"n": fmt.Sprint(i)}})
		}
		b := config.Organization{
			Via: w.ak().SignIn, MemberRole: "reader", Name: "{{.ID}}", Include: config.MemberFilter{OUs: []string{unit}},
		}
		s := w.sessions(Options{})
		list := func(want int) {
			t.Helper()
			before := len(w.calls(""))
			members, err := s.Members(t.Context(), b)
			if err != nil || len(members.Members) != 999 {
				t.Fatalf("%d members, %v", len(members.Members), err)
			}
			if got := len(w.calls("")) - before; got != want {
				t.Errorf("%d calls, want %d", got, want)
			}
			if accounts, err := b.MemberAccounts(members.Caller, members.Members); err != nil || len(accounts) != 999 {
				t.Error(err)
			}
		}
		list(50 + 1) // with GetCallerIdentity
		list(50)
		b.ExtraTags = map[string]string{"n": "{{.Tags.n}}"}
		list(50 + 999)
		list(50)
		time.Sleep(tagCacheTTL)
		list(50 + 999)
	})
}

// TestMembersWrong: errors of Organizations, and their hints.
func TestMembersWrong(t *testing.T) {
	refused := func(t *testing.T, s *Sessions, b config.Organization, want record.Reason, words ...string) {
		t.Helper()
		members, err := s.Members(t.Context(), b)
		if err == nil {
			t.Fatalf("%+v", members)
		}
		text := err.Error() + "\n" + record.HintOf(err)
		if got := record.ReasonOf(err); got != want {
			t.Errorf("reason %s, want %s: %s", got, want, text)
		}
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in: %s", w, text)
			}
		}
	}
	t.Run("a member that is not a delegated administrator", func(t *testing.T) {
		o := newOrg(t)
		b := o.block()
		b.Via = block(key(o.other.AddUser("eve").NewKey())).SignIn
		refused(t, o.sessions(Options{}), b, record.AccessDenied,
			"list the organization's accounts", "delegated administrator", "policy organization")
	})
	t.Run("a delegated administrator", func(t *testing.T) {
		o := newOrg(t)
		b := o.block()
		b.Via = block(key(o.delegated.AddUser("auditor").NewKey())).SignIn
		members, err := o.sessions(Options{}).Members(t.Context(), b)
		if err != nil || members.Caller.AccountID != o.delegated.ID || len(members.Members) != 5 {
			t.Error(members, err)
		}
	})
	t.Run("an action that is denied", func(t *testing.T) {
		o := newOrg(t)
		o.home.Deny(awsfake.Denial{Action: "organizations:ListTagsForResource"})
		named := o.block(func(b *config.Organization) { b.Name = "{{.Tags.env}}" })
		refused(t, o.sessions(Options{}), named, record.AccessDenied, "organizations:ListTagsForResource")
	})
	t.Run("no organization", func(t *testing.T) {
		w := newFixture(t, awsfake.Options{})
		o := org{fixture: w}
		refused(t, w.sessions(Options{}), o.block(), record.WrongAccount, "111111111111 is not in an organization")
	})
	t.Run("a unit that does not exist", func(t *testing.T) {
		o := newOrg(t)
		without := func(unit string) config.Organization {
			return o.block(func(b *config.Organization) { b.Exclude.OUs = []string{unit} })
		}
		refused(t, o.sessions(Options{}), without("ou-ab12-cdef3456"), record.Other, "ou-ab12-cdef3456", "ParentNotFound")
		if _, err := o.sessions(Options{}).Members(t.Context(), without(o.of.AddUnit("", "Empty"))); err != nil {
			t.Errorf("an empty unit: %v", err)
		}
	})
	t.Run("via cannot sign in", func(t *testing.T) {
		o := newOrg(t)
		o.user.DeleteKey(o.key.ID)
		refused(t, o.sessions(Options{}), o.block(), record.BadKey, "ak AKIA")
	})
	t.Run("busy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOrg(t)
			s := o.sessions(Options{})
			remove := o.aws.Inject(awsfake.Fault{Kind: awsfake.Throttling, Service: "organizations", Count: 5})
			if members, err := s.Members(t.Context(), o.block()); err != nil || len(members.Members) != 5 {
				t.Errorf("five refusals: %v", err)
			}
			remove()
			o.aws.Inject(awsfake.Fault{Kind: awsfake.Throttling, Service: "organizations"})
			refused(t, s, o.block(), record.Throttling, "throttles calls")
		})
	})
	t.Run("a page that fails in the middle of the list", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOrg(t)
			for i := range 30 {
				o.of.Join(o.aws.AddAccount(fmt.Sprintf("3000000000%02d", i), "aws"), awsfake.Member{})
			}
			o.aws.Inject(awsfake.Fault{Kind: awsfake.ServerError, Service: "organizations", Pages: true})
			refused(t, o.sessions(Options{}), o.block(), record.Other, "list the organization's accounts")
		})
	})
	t.Run("a session that ends in the middle of the list costs one renewal", func(t *testing.T) {
		o := newOrg(t)
		o.home.AddRole("hub", trusting(o.home.ID))
		for i := range 30 {
			o.of.Join(o.aws.AddAccount(fmt.Sprintf("3000000000%02d", i), "aws"), awsfake.Member{})
		}
		o.aws.Inject(awsfake.Fault{Kind: awsfake.Expire, Service: "organizations", Pages: true, Count: 1})
		b := o.block()
		b.Via.Role.ARN = "arn:aws:iam::111111111111:role/hub"
		if members, err := o.sessions(Options{}).Members(t.Context(), b); err != nil || len(members.Members) != 35 {
			t.Error(len(members.Members), err)
		}
		o.count("AssumeRole", 2)
	})
	t.Run("a hung response ends with its caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOrg(t)
			o.aws.Inject(awsfake.Fault{Kind: awsfake.Hang, Service: "organizations"})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := o.sessions(Options{}).Members(ctx, o.block()); record.ReasonOf(err) != record.TimedOut {
				t.Error(err)
			}
		})
	})
}

// TestMembersChina: the endpoint of the partition.
func TestMembersChina(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	w.china.NewOrganization("china")
	b := config.Organization{
		Via:        block(key(w.china.AddUser("u").NewKey())).SignIn,
		MemberRole: "reader",
		Name:       "{{.ID}}",
		Collect:    config.Collect{Regions: []string{"cn-north-1"}},
	}
	members, err := w.sessions(Options{}).Members(t.Context(), b)
	if err != nil || len(members.Members) != 1 {
		t.Fatal(members, err)
	}
	if got := w.calls("ListAccounts")[0].Region; got != "cn-northwest-1" {
		t.Errorf("asked in %s", got)
	}
}
