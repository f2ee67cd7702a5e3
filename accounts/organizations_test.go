package accounts

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// The task of an organization lists its members and reports the change, also after a failed list. Inactive members are
// a warning. Nothing is listed twice within a run of the members.
func TestOrganizationTask(t *testing.T) {
	org := config.Organization{
		Label: "organization:key", MemberRole: "reader", Schedule: "@hourly", Timezone: "UTC",
		Timeout: config.Duration(time.Hour),
	}
	found := auth.OrganizationMembers{
		Caller: record.Identity{AccountID: "111111111111", Partition: "aws"}, Members: []config.Member{{ID: "222222222222"}},
	}
	var failure error
	lists, changes := 0, 0
	d := NewDirectory(func(context.Context, config.Organization) (auth.OrganizationMembers, error) {
		lists++
		return found, failure
	}, "", slog.New(slog.DiscardHandler))
	defer d.Close()
	var unusable error
	task, err := d.Task(org, []string{"ec2_instance"}, 0, func(context.Context) error {
		changes++
		return unusable
	})
	if err != nil {
		t.Fatal(err)
	}
	if task.Name != org.Label || task.Timeout != 2*listingTimeout || len(task.Ticks) != 1 {
		t.Errorf("%+v", task)
	}
	step := func(lists0, changes0 int, wantWarning string, wantErr error) {
		t.Helper()
		warning, err := task.Run(t.Context())
		if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
			t.Errorf("error %v, want %v", err, wantErr)
		}
		if (warning == nil) != (wantWarning == "") || warning != nil && !strings.Contains(warning.Error(), wantWarning) {
			t.Errorf("warning %v, want %q", warning, wantWarning)
		}
		if lists != lists0 || changes != changes0 {
			t.Errorf("%d lists, %d changes reported, want %d and %d", lists, changes, lists0, changes0)
		}
	}
	again := func() { d.blocks[organizationKey(org)].at = time.Time{} } // the last list is old
	step(1, 1, "", nil)
	step(1, 2, "", nil)
	again()
	found.Inactive = []config.Member{{ID: "333333333333", Name: "closed", State: "SUSPENDED"}}
	step(2, 3, "333333333333 (closed) is SUSPENDED", nil)
	again()
	failure = errors.New("AWS Organizations does not answer")
	step(3, 4, "", failure)
	again()
	failure, unusable = nil, errors.New("an output does not open")
	step(4, 5, "", unusable)
}

// A set follows another one if its blocks or its inactive members differ, or if an organization has its first list.
func TestSetFollows(t *testing.T) {
	block := func(names ...string) (blocks []config.Account) {
		for _, n := range names {
			blocks = append(blocks, config.Account{Name: n})
		}
		return blocks
	}
	last := &Set{Accounts: block("a"), Unlisted: []string{"org"}, Members: map[string]string{}}
	same := &Set{Accounts: block("a"), Unlisted: []string{"org"}, Members: map[string]string{}}
	if same.MarkNewMembers(last, true) {
		t.Error("an equal set follows")
	}
	for _, atOnce := range []bool{false, true} {
		next := &Set{Accounts: block("a", "m"), Members: map[string]string{"m": "org"}}
		if !next.MarkNewMembers(last, atOnce) || len(next.NewMembers) != 1 || next.NewMembers["m"] != atOnce {
			t.Errorf("new members %v", next.NewMembers)
		}
		later := &Set{Accounts: block("a", "m", "n"), Members: map[string]string{"m": "org", "n": "org"}}
		if !later.MarkNewMembers(next, atOnce) || len(later.NewMembers) != 1 || later.NewMembers["n"] {
			t.Errorf("a member of a known organization runs at once: %v", later.NewMembers)
		}
	}
	inactive := &Set{
		Accounts: block("a"), Unlisted: []string{"org"},
		Inactive: map[string]record.Identity{"x": {AccountID: "444444444444"}},
	}
	if !inactive.MarkNewMembers(last, false) {
		t.Error("an inactive member changes nothing")
	}
}
