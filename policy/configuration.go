package policy

import (
	"slices"
	"strings"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Fill takes what is empty from account blocks: the partition, and the roles unless keepRoles is set. Of a chain of
// roles it takes the first: the others are assumed by roles. It leaves out ARNs with references that have no value, and
// returns their number.
func (a *Access) Fill(blocks []config.Account, keepRoles bool) (unresolved int) {
	byPartition := map[string][]string{}
	for _, b := range blocks {
		arn := b.Role.ARN
		if len(b.Roles) > 0 {
			arn = b.Roles[0].ARN
		}
		if arn == "" {
			continue
		}
		p := record.PartitionOfARN(arn)
		if p == "" || strings.Contains(arn, "${") {
			unresolved++
			continue
		}
		byPartition[p] = append(byPartition[p], arn)
	}
	if a.Partition == "" && len(byPartition) == 1 {
		for p := range byPartition {
			a.Partition = p
		}
	}
	if a.Partition == "" {
		a.Partition = commonPartition(blocks)
	}
	if !keepRoles && len(a.Accounts) == 0 {
		a.Roles = byPartition[a.Partition]
	}
	return unresolved
}

// commonPartition is the partition that all accounts share, according to their partition or regions. It is aws if they
// differ or name none.
func commonPartition(blocks []config.Account) string {
	var found []string
	for _, b := range blocks {
		if b.Partition != "" {
			found = append(found, b.Partition)
			continue
		}
		for _, r := range append([]string{b.STSRegion}, b.Collect.Regions...) {
			if p, ok := record.PartitionOf(r); ok {
				found = append(found, p.ID)
			}
		}
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 1 {
		return found[0]
	}
	return record.Partitions[0].ID
}

// MemberTemplates returns a block for each organization that stands for its members, with a role in any account.
func MemberTemplates(f *config.File) (blocks []config.Account) {
	for _, o := range f.Organizations {
		b := config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect}
		hop := config.Role{ARN: "arn:" + b.PartitionID() + ":iam::*:role/" + o.MemberRole, RoleSession: o.RoleSession}
		b.Roles, b.Role = append(slices.Clone(o.Via.Hops()), hop), config.Role{}
		blocks = append(blocks, b)
	}
	return blocks
}
