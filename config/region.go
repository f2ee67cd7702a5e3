package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aws-collector/collector/record"
)

// knownRegions is every region of every partition.
func knownRegions() []string {
	var all []string
	for _, p := range record.Partitions {
		all = append(all, p.Regions...)
	}
	return all
}

func partitionIDs() []string {
	var all []string
	for _, p := range record.Partitions {
		all = append(all, p.ID)
	}
	return all
}

// regionProblem judges a literal region. unknown is one of the right form that is on no list, which may be newer than this build.
func (d *decoder) regionProblem(p position, name string) (text, remedy string, unknown bool) {
	if slices.ContainsFunc(record.Partitions, func(p record.Partition) bool { return slices.Contains(p.Regions, name) }) {
		return "", "", false
	}
	all := knownRegions()
	text = d.show(p, name) + " is no region"
	_, formed := record.PartitionOf(name)
	if p.references != "" {
		return text, "", formed
	}
	if n := len(name); n > 0 && slices.Contains(all, name[:n-1]) && name[n-1] >= 'a' && name[n-1] <= 'z' {
		return d.show(p, name) + " is an availability zone", "the region is " + strconv.Quote(name[:n-1]), false
	}
	if m := d.nearestRegion(name); m != "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	if !formed {
		if remedy == "" {
			remedy = `want a name such as us-east-1, a glob such as "eu-*", or "*"`
		}
		return text, remedy, false
	}
	text = d.show(p, name) + " is no region that this build knows"
	for _, near := range []string{name[:strings.LastIndexByte(name, '-')], name[:strings.IndexByte(name, '-')]} {
		if len(Match([]string{near + "-*"}, all)) == 0 {
			continue
		}
		newer := `a newer one can be written as a glob such as "` + near + `-*"`
		if remedy == "" {
			return text, newer, true
		}
		if near != name[:strings.IndexByte(name, '-')] {
			remedy += " (" + newer + ")"
		}
		break
	}
	return text, remedy, true
}

// checkRegionPattern judges a name or glob of a list.
func (d *decoder) checkRegionPattern(ptr *string) {
	p, ok := d.checkable(ptr)
	if !ok || d.tooManyProblems() {
		return
	}
	name := strings.TrimPrefix(*ptr, "!")
	if isGlob(name) {
		if len(Match([]string{name}, knownRegions())) == 0 {
			d.report(p, d.show(p, *ptr)+" matches no region that this build knows", `want a name such as us-east-1, a glob such as "eu-*", or "*"`)
		}
		return
	}
	if text, remedy, _ := d.regionProblem(p, name); text != "" {
		d.report(p, text, remedy)
	}
}

// A sign is a key that tells the partition of an account.
type partitionClaim struct {
	at        position
	partition string
	what      string
}

// checkOnePartition reports every key of an account that tells of another partition than the first: nothing crosses them.
func (d *decoder) checkOnePartition(a *SignIn, c *Collect, f *File, own position) {
	var signs []partitionClaim
	add := func(ptr any, partition, what string) {
		p, ok := d.checkable(ptr)
		if _, known := record.PartitionNamed(partition); ok && known {
			signs = append(signs, partitionClaim{at: p, partition: partition, what: what})
		}
	}
	add(&a.Partition, a.Partition, "partition")
	if a.IsGlobal != nil {
		add(&a.IsGlobal, globalPartition(*a.IsGlobal), "is_global")
	}
	add(&a.ARN, record.PartitionOfARN(a.ARN), "assume_role_arn")
	for i := range a.Roles {
		add(&a.Roles[i].ARN, record.PartitionOfARN(a.Roles[i].ARN), "assume_roles["+strconv.Itoa(i)+"]")
	}
	add(&a.SerialNumber, record.PartitionOfARN(a.SerialNumber), "serial_number")
	if p, ok := record.PartitionOf(a.STSRegion); ok {
		add(&a.STSRegion, p.ID, "sts_region")
	}
	regions, inherited := c.Regions, false
	if !d.isSet(&c.Regions) {
		regions, inherited = f.Defaults.Regions, true
	}
	for i := range regions {
		if strings.HasPrefix(regions[i], "!") {
			continue
		}
		if p, ok := record.PartitionOf(regions[i]); ok && !isGlob(regions[i]) {
			add(&regions[i], p.ID, "region "+d.show(d.positions[&regions[i]], regions[i]))
		}
	}
	if len(signs) == 0 {
		return
	}
	first := signs[0]
	for _, s := range signs[1:] {
		if s.partition == first.partition {
			continue
		}
		at, remedy := s.at, "an account and all that belongs to it are in one partition"
		if strings.HasPrefix(s.what, "region ") && inherited {
			at, remedy = own, "give the account its own collector_configs.regions"
		}
		line := " (line " + strconv.Itoa(int(first.at.line)) + ")"
		if s.at.references != "" || first.at.references != "" {
			d.report(at, s.what+" is in another partition than "+first.what+line, remedy)
			continue
		}
		d.report(at, s.what+" is in partition "+s.partition+", but "+first.what+line+" in "+first.partition, remedy)
	}
	d.checkRegionsInPartition(first.partition, regions, inherited, own)
}

// checkRegionsInPartition reports patterns that select nothing in the account's partition.
func (d *decoder) checkRegionsInPartition(partition string, regions []string, inherited bool, own position) {
	p, ok := record.PartitionNamed(partition)
	if !ok {
		return
	}
	for i := range regions {
		at, judged := d.checkable(&regions[i])
		if !judged {
			if d.isSet(&regions[i]) {
				return // what is not known cannot be missed
			}
			continue
		}
		if !inherited && isGlob(regions[i]) && !strings.HasPrefix(regions[i], "!") &&
			len(Match([]string{regions[i]}, p.Regions)) == 0 && len(Match([]string{regions[i]}, knownRegions())) > 0 {
			d.report(at, d.show(at, regions[i])+" matches no region of partition "+partition, "the account is in "+partition)
			return
		}
	}
	if literal := slices.ContainsFunc(regions, func(r string) bool { return !isGlob(r) && !strings.HasPrefix(r, "!") }); literal {
		return // judged one by one
	}
	if len(Match(regions, p.Regions)) == 0 {
		d.report(own, "no region is left in partition "+partition, "look at collector_configs.regions")
	}
}
