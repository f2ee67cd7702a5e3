package account

import (
	"slices"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// DiscoveryRegion is the region that is asked for the account's regions: the first that the configuration spells out.
func DiscoveryRegion(c config.Collect, part record.Partition) string {
	for _, r := range c.Regions {
		if p, ok := record.PartitionOf(r); ok && p.ID == part.ID {
			return r
		}
	}
	return part.DefaultRegion
}

// ChooseRegions returns the regions of an account that match the configuration and the globs of --region.
func ChooseRegions(c config.Collect, globs []string, rs collectors.Regions) runner.Plan {
	pick := func(names []string) []string {
		names = config.Match(c.Regions, names)
		if len(globs) > 0 {
			names = config.Match(globs, names)
		}
		return names
	}
	plan := runner.Plan{Regions: pick(rs.Enabled), Complete: rs.Complete && len(globs) == 0, Warning: rs.Warning}
	literal := func(r string) bool { return slices.Contains(c.Regions, r) }
	for _, r := range pick(rs.Disabled) {
		if literal(r) { // a glob means the enabled regions; a name means that region
			plan.Disabled = append(plan.Disabled, r)
		}
	}
	// Regions that the configuration spells out and that AWS did not list: newer than a fallback list, or of another
	// partition.
	for _, r := range c.Regions {
		_, isName := record.PartitionOf(r)
		planned := slices.Contains(plan.Regions, r) || slices.Contains(plan.Disabled, r)
		if !isName || planned || len(pick([]string{r})) == 0 {
			continue
		}
		if rs.Complete {
			plan.Disabled = append(plan.Disabled, r)
		} else {
			plan.Regions = append(plan.Regions, r)
		}
	}
	return plan
}
