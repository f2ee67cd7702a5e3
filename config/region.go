package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/record"
)

// knownRegions returns every region of every partition.
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

// regionProblem checks a region's name, which is not a glob. unknown is true if the name has the right form but is on
// no list: the region may be newer than this build.
func (d *decoder) regionProblem(p yamldoc.Position, name string) (text, remedy string, unknown bool) {
	if slices.ContainsFunc(record.Partitions, func(p record.Partition) bool { return slices.Contains(p.Regions, name) }) {
		return "", "", false
	}
	all := knownRegions()
	text = d.Show(p, name) + " is not a region"
	_, formed := record.PartitionOf(name)
	if p.References != "" {
		return text, "", formed
	}
	if name == record.GlobalRegion {
		return text, "remove it: global services are collected whatever regions names", false
	}
	if n := len(name); n > 0 && slices.Contains(all, name[:n-1]) && name[n-1] >= 'a' && name[n-1] <= 'z' {
		return d.Show(p, name) + " is an availability zone", "write the region: " + strconv.Quote(name[:n-1]), false
	}
	if m := d.nearestRegion(name); m != "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	if !formed {
		if remedy == "" {
			remedy = `write a name such as us-east-1, a glob such as "eu-*", or "*"`
		}
		return text, remedy, false
	}
	text = d.Show(p, name) + " is not a region that this build knows"
	for _, near := range []string{name[:strings.LastIndexByte(name, '-')], name[:strings.IndexByte(name, '-')]} {
		if len(Match([]string{near + "-*"}, all)) == 0 {
			continue
		}
		newer := `write a newer region as a glob such as "` + near + `-*"`
		if remedy == "" {
			return text, newer, true
		}
		break
	}
	return text, remedy, true
}

// newerRegion is the remedy of the warning about a region that may be newer than this build.
const newerRegion = "check the name: the region may be newer than this build"

// checkRegionPattern checks a name or glob in a list of regions. AWS says at the sign-in which regions there are, so a
// region that may be newer than this build is a warning.
func (d *decoder) checkRegionPattern(ptr *string) {
	p, ok := d.Checkable(ptr)
	if !ok || d.TooManyProblems() {
		return
	}
	name := strings.TrimPrefix(*ptr, "!")
	if isGlob(name) {
		switch text := d.Show(p, *ptr) + " matches no region that this build knows"; {
		case len(Match([]string{name}, knownRegions())) > 0:
		case mayBeNewer(name):
			d.Warn(p, text, newerRegion)
		default:
			d.Report(p, text, `write a name such as us-east-1, a glob such as "eu-*", or "*"`)
		}
		return
	}
	switch text, remedy, unknown := d.regionProblem(p, name); {
	case unknown && mayBeNewer(name):
		d.Warn(p, text, newerRegion)
	case text != "":
		d.Report(p, text, remedy)
	}
}

// mayBeNewer reports whether a name or glob may mean a region that is newer than this build: its words are those of
// known regions and at their places, such as sa-west-1 or "eu-southwest-*". Other words are more often a slip.
func mayBeNewer(pattern string) bool {
	first, inner := map[string]bool{}, map[string]bool{"southwest": true}
	for _, r := range knownRegions() {
		words := strings.Split(r, "-")
		first[words[0]] = true
		for _, word := range words[1 : len(words)-1] {
			inner[word] = true
		}
	}
	words := strings.Split(pattern, "-")
	for i, word := range words {
		start, isName, isLast := word, true, i == len(words)-1
		if w := strings.IndexAny(word, "*?["); w >= 0 {
			start, isName = word[:w], false
		}
		isNumber := isLast && i > 1 && start != "" && strings.Trim(start, "0123456789") == ""
		var fits bool
		switch {
		case isName && isLast:
			fits = isNumber
		case isName:
			fits = i == 0 && first[word] || i > 0 && inner[word]
		case i > 0:
			fits = isNumber || startsOne(inner, start)
		}
		if !fits {
			return false
		}
	}
	return true
}

func startsOne(words map[string]bool, start string) bool {
	for word := range words {
		if strings.HasPrefix(word, start) {
			return true
		}
	}
	return false
}

// An impliedPartition is a key that implies the partition of an account.
type impliedPartition struct {
	at        yamldoc.Position
	partition string
	what      string
}

// checkOnePartition reports every key of an account that implies another partition than the first one.
func (d *decoder) checkOnePartition(a *SignIn, c *Collect, f *File, own yamldoc.Position) {
	var implied []impliedPartition
	add := func(ptr any, partition, what string) {
		p, ok := d.Checkable(ptr)
		if _, known := record.PartitionNamed(partition); ok && known {
			implied = append(implied, impliedPartition{at: p, partition: partition, what: what})
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
	if !d.IsSet(&c.Regions) {
		regions, inherited = f.Defaults.Regions, true
	}
	for i := range regions {
		if strings.HasPrefix(regions[i], "!") {
			continue
		}
		if p, ok := record.PartitionOf(regions[i]); ok && !isGlob(regions[i]) {
			add(&regions[i], p.ID, "region "+d.Show(d.At(&regions[i]), regions[i]))
		}
	}
	if len(implied) == 0 {
		return
	}
	first := implied[0]
	for _, s := range implied[1:] {
		if s.partition == first.partition {
			continue
		}
		at, remedy := s.at, "use one partition for an account and everything in it"
		if strings.HasPrefix(s.what, "region ") && inherited {
			at, remedy = own, "give the account its own collector_configs.regions"
		}
		line := " (line " + strconv.Itoa(int(first.at.Line)) + ")"
		if s.at.References != "" || first.at.References != "" {
			d.Report(at, s.what+" is in another partition than "+first.what+line, remedy)
			continue
		}
		d.Report(at, s.what+" is in partition "+s.partition+", but "+first.what+line+" is in "+first.partition, remedy)
	}
	d.checkRegionsInPartition(first.partition, regions, inherited, own)
}

// checkRegionsInPartition reports patterns that select nothing in the account's partition.
func (d *decoder) checkRegionsInPartition(partition string, regions []string, inherited bool, own yamldoc.Position) {
	p, ok := record.PartitionNamed(partition)
	if !ok {
		return
	}
	for i := range regions {
		at, ok := d.Checkable(&regions[i])
		if !ok {
			if d.IsSet(&regions[i]) {
				return // it may select something once it is resolved
			}
			continue
		}
		if !inherited && isGlob(regions[i]) && !strings.HasPrefix(regions[i], "!") &&
			len(Match([]string{regions[i]}, p.Regions)) == 0 && len(Match([]string{regions[i]}, knownRegions())) > 0 {
			d.Report(at, d.Show(at, regions[i])+" matches no region of partition "+partition,
				"write regions of "+partition+", the account's partition")
			return
		}
	}
	wasChecked := func(r string) bool { // by itself
		return !strings.HasPrefix(r, "!") && (!isGlob(r) || len(Match([]string{r}, knownRegions())) == 0)
	}
	if slices.ContainsFunc(regions, wasChecked) {
		return
	}
	if len(Match(regions, p.Regions)) == 0 {
		d.Report(own, "no region is left in partition "+partition, "correct collector_configs.regions")
	}
}
