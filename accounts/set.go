package accounts

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// A Set has the account blocks of a configuration: those of the file, and those of members.
type Set struct {
	Accounts   []config.Account
	Members    map[string]string          // labels of organizations, by the name of the member's block
	Identities map[string]record.Identity // of members, from AWS, by name
	Inactive   map[string]record.Identity // members that are not collected because they are inactive, by name
	Unlisted   []string                   // labels of organizations without any list
	Duplicates []string                   // warnings about members that also have a block in the file
	NewMembers map[string]bool            // members since the last account set; true: run them at once
}

// Resolve returns the blocks of the file, then those of members. A member that also has a block in the file is
// collected as that block says: either the block names its account id, or it signed in to that account before.
func (d *Directory) Resolve(f *config.File, identities map[string]record.Identity) *Set {
	s := &Set{
		Accounts: slices.Clip(f.Accounts), Members: map[string]string{},
		Identities: map[string]record.Identity{}, Inactive: map[string]record.Identity{},
	}
	type account struct{ partition, id string }
	own, taken := map[account]string{}, map[string]bool{}
	for i := range f.Accounts {
		a := f.Accounts[i]
		taken[a.Name] = true
		if id := a.KnownAccountID(); id != "" {
			own[account{a.PartitionID(), id}] = cmp.Or(own[account{a.PartitionID(), id}], a.Name)
		} else if id, ok := identities[a.Name]; ok {
			own[account{id.Partition, id.AccountID}] = a.Name
		}
	}
	var members []config.Account
	for _, o := range f.Organizations {
		list := d.Last(o)
		if list == nil {
			s.Unlisted = append(s.Unlisted, o.Label)
			continue
		}
		for _, group := range []struct {
			members []config.Member
			active  bool
		}{{list.Members, true}, {list.Inactive, false}} {
			blocks, err := o.MemberAccounts(list.Via, group.members)
			if err != nil { // the template is valid, and fails for the attributes of one member
				d.log.Error("organization template failed", "organization", o.Label, "error", err)
				s.Unlisted = append(s.Unlisted, o.Label)
				continue
			}
			for _, a := range blocks {
				id := record.Identity{AccountID: a.AccountID, Partition: list.Via.Partition}
				key := account{id.Partition, id.AccountID}
				if name, ok := own[key]; ok {
					if group.active {
						s.Duplicates = append(s.Duplicates, fmt.Sprintf(
							"%s: member %s also has the account block %q, which is the one that is collected",
							o.Label, a.AccountID, name))
					}
					continue
				}
				if taken[a.Name] {
					a.Name += "-" + a.AccountID
				}
				own[key], taken[a.Name] = a.Name, true
				if !group.active {
					s.Inactive[a.Name] = id
					continue
				}
				s.Members[a.Name], s.Identities[a.Name] = o.Label, id
				members = append(members, a)
			}
		}
	}
	s.Accounts = append(s.Accounts, members...)
	return s
}
