package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// validate judges what decoding cannot: keys against each other, and names against what there is. It never looks at a value that
// is still a reference, nor at one that is reported already.
func (d *decoder) validate(w *document, blocks []*Account) {
	top := d.positions[w]
	loc := d.checkTimezone(&w.Timezone)
	d.checkSchedule(&w.Schedule, w.Schedule, loc)
	d.checkCollect(&w.Defaults, loc)
	d.checkSessionKey(w)
	d.checkListen(&w.Web.Listen)
	d.checkHosts(&w.Web)
	if p, ok := d.checkable(&w.Outputs); ok && len(w.Outputs) == 0 {
		d.report(p, "records would go nowhere", "name an output, or remove the key for stdout")
	}
	d.checkStore(&w.Store)
	d.checkStoreNeeded(w)
	switch p, set := d.positions[&w.Blocks]; {
	case w.Account != nil && set:
		d.report(d.positions[w.Account], "account: and accounts: stand side by side", "move the single block into accounts:")
	case len(blocks) == 0 && !d.isSet(&w.Organizations) && (!set || p.state == valid) && top.state == valid:
		if set {
			top = p
		}
		d.report(top, "there is no account", "add accounts: with a block for each; a block that is nothing but extra_tags signs in by the instance's role")
	}
	collects := make([]*Collect, 0, len(blocks)+len(w.Organizations))
	for _, a := range blocks {
		d.checkAccount(a, &w.File, loc)
		collects = append(collects, &a.Collect)
	}
	if p, ok := d.checkable(&w.Organizations); ok && len(w.Organizations) == 0 {
		d.report(p, "is empty", "name an organization, or remove the key")
	}
	for i := range w.Organizations {
		d.checkOrganization(&w.Organizations[i], &w.File, loc)
		collects = append(collects, &w.Organizations[i].Collect)
	}
	d.checkScheduledKinds(w, collects)
	d.checkUniqueNames(blocks)
	d.warnUnnamed(blocks)
	d.warnDuplicateAccounts(blocks, w.Organizations)
}

// checkCollect judges a block of what to list, by itself.
func (d *decoder) checkCollect(c *Collect, loc *time.Location) {
	d.checkNotEmpty(&c.Regions, c.Regions, "every region is meant by \"*\"")
	d.checkNotEmpty(&c.Kinds, c.Kinds, "name a kind; \"collector kinds\" lists them")
	for i := range c.Regions {
		d.checkRegionPattern(&c.Regions[i])
	}
	for i := range c.Kinds {
		d.checkKindPattern(&c.Kinds[i], c.Kinds[i])
	}
	for pattern, spec := range c.Schedules {
		at := mapEntry{&c.Schedules, pattern}
		d.checkSchedule(at, spec, loc)
		if strings.HasPrefix(pattern, "!") {
			d.report(d.positions[at], "a schedule is for kinds that are named", "write it without the !")
			continue
		}
		d.checkKindPattern(at, pattern)
	}
	for i := range c.ExpectDenied {
		e := &c.ExpectDenied[i]
		d.checkRegionPattern(&e.Region)
		d.checkKindPattern(&e.Kind, e.Kind)
		if p, ok := d.checkable(e); ok && !d.isSet(&e.Region) && !d.isSet(&e.Kind) {
			d.report(p, "names neither a region nor a kind", `to expect every denial, write region: "*"`)
		}
	}
}

// checkNotEmpty reports a list that is there and empty.
func (d *decoder) checkNotEmpty(ptr *[]string, list []string, remedy string) {
	if p, ok := d.checkable(ptr); ok && len(list) == 0 {
		d.report(p, "is empty: nothing would be collected", remedy)
	}
}

// checkKindPattern judges a name or glob of kinds. at is where it was filled in; a map's key is judged at its value's place.
func (d *decoder) checkKindPattern(at any, pattern string) {
	p, ok := d.positions[at]
	if _, key := at.(mapEntry); !ok || !key && p.state != valid || d.tooManyProblems() {
		return
	}
	if _, key := at.(mapEntry); key {
		p.references = "" // the key is in the file, whatever its value is
	}
	name := strings.TrimPrefix(pattern, "!")
	if d.isKind(name) {
		return
	}
	text, remedy := d.show(p, pattern)+" is no kind", `"collector kinds" lists them`
	if isGlob(name) {
		text = d.show(p, pattern) + " matches no kind"
	}
	if m := d.nearestKind(name); m != "" && p.references == "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	d.report(p, text, remedy)
}

// checkScheduledKinds judges schedules against what is collected: in a block by that block, in the file by any of its accounts.
func (d *decoder) checkScheduledKinds(w *document, blocks []*Collect) {
	common := Match(w.Defaults.Kinds, d.registry.Kinds)
	anywhere, seen := slices.Clone(common), map[string]bool{}
	for _, kind := range common {
		seen[kind] = true
	}
	sure := d.allValid(&w.Defaults.Kinds, w.Defaults.Kinds)
	for _, c := range blocks {
		mine, known := common, sure
		if d.isSet(&c.Kinds) {
			mine, known = Match(c.withDefaults(w.Defaults).Kinds, d.registry.Kinds), d.allValid(&c.Kinds, c.Kinds)
			for _, kind := range mine {
				if !seen[kind] {
					seen[kind] = true
					anywhere = append(anywhere, kind)
				}
			}
			sure = sure && known
		}
		if p, ok := d.checkable(&c.Kinds); ok && known && len(c.Kinds) > 0 && len(mine) == 0 {
			d.report(p, "nothing is left to collect", "every kind that is taken in is left out again")
		}
		if known {
			d.checkSchedulesUsed(c, mine, "the account does not collect it")
		}
	}
	if p, ok := d.checkable(&w.Defaults.Kinds); ok && d.allValid(&w.Defaults.Kinds, w.Defaults.Kinds) && len(w.Defaults.Kinds) > 0 && len(Match(w.Defaults.Kinds, d.registry.Kinds)) == 0 {
		d.report(p, "nothing is left to collect", "every kind that is taken in is left out again")
	}
	if sure {
		d.checkSchedulesUsed(&w.Defaults, anywhere, "no account collects it")
	}
}

// allValid reports whether every pattern of the list can be judged and selects something.
func (d *decoder) allValid(ptr *[]string, list []string) bool {
	if p, ok := d.positions[ptr]; ok && p.state != valid {
		return false
	}
	for i := range list {
		p, ok := d.positions[&list[i]]
		if ok && p.state != valid || !d.isKind(strings.TrimPrefix(list[i], "!")) {
			return false
		}
	}
	return true
}

// checkSchedulesUsed reports schedules for kinds that nobody collects.
func (d *decoder) checkSchedulesUsed(c *Collect, kinds []string, but string) {
	for pattern := range c.Schedules {
		p, ok := d.positions[mapEntry{&c.Schedules, pattern}]
		if !ok || !d.isKind(pattern) || strings.HasPrefix(pattern, "!") {
			continue
		}
		if len(Match([]string{pattern}, kinds)) == 0 {
			d.report(p, "has a schedule, but "+but, "add it to kinds, or remove its schedule")
		}
	}
}

func (d *decoder) checkListen(ptr *string) {
	p, ok := d.checkable(ptr)
	if !ok {
		return
	}
	const remedy = `want host:port such as 127.0.0.1:9420, or ":9420" for every interface`
	host, port, err := net.SplitHostPort(*ptr)
	n, nerr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		d.report(p, d.show(p, *ptr)+" is no address to listen at", remedy)
	case nerr != nil:
		d.report(p, d.show(p, *ptr)+" has no port from 0 to 65535", remedy)
	case strings.ContainsAny(host, "/ @") || n == 0 && port != "0":
		d.report(p, d.show(p, *ptr)+" is no address to listen at", remedy)
	}
}

// checkUniqueNames reports two blocks of one name: it is what records and metrics are told apart by.
func (d *decoder) checkUniqueNames(blocks []*Account) {
	first := map[string]position{}
	for _, a := range blocks {
		name, at := a.Name, any(&a.Name)
		if !d.isSet(at) {
			name, at = a.ExtraTags["account_name"], mapEntry{&a.ExtraTags, "account_name"}
		}
		p, ok := d.checkable(at)
		if !ok || name == "" {
			continue
		}
		if before, ok := first[name]; ok {
			d.report(p, d.show(p, name)+" is taken by "+describePosition(before), "give each block a name of its own")
			continue
		}
		first[name] = p
	}
}

// warnDuplicateAccounts warns of two blocks that will turn out to be one account, of which the second fails.
func (d *decoder) warnDuplicateAccounts(blocks []*Account, orgs []Organization) {
	first := map[string]position{}
	for _, a := range blocks {
		id, ok := d.knownAccountID(&a.SignIn)
		if !ok {
			continue
		}
		p := d.positions[a]
		if before, ok := first[id]; ok {
			d.warn(p, "this is account "+quoteSafe(id)+", as is "+describePosition(before)+": of two blocks for one account only the first is collected", "make them one block")
			continue
		}
		first[id] = p
	}
	for i := range orgs {
		for j := range orgs[i].Include.Accounts {
			id := &orgs[i].Include.Accounts[j]
			if p, ok := d.checkable(id); ok && p.references == "" {
				if block, ok := first[*id]; ok {
					d.warn(p, "account "+quoteSafe(*id)+" is "+describePosition(block)+" too: that block is the one that is collected", "remove one of them")
				}
			}
		}
	}
}

// describePosition is a place in words.
func describePosition(p position) string { return p.path + " (line " + strconv.Itoa(int(p.line)) + ")" }
