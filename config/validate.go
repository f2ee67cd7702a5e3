package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// validate checks what decoding cannot: keys against each other, and names against the known ones. It skips values that
// are unresolved references, and values that are already reported.
func (d *decoder) validate(w *document, blocks []*Account) {
	top := d.positions[w]
	loc := d.checkTimezone(&w.Timezone)
	d.checkSchedule(&w.Schedule, w.Schedule, loc)
	d.checkCollect(&w.Defaults, loc)
	d.checkSessionKey(w)
	d.checkListen(&w.Web.Listen)
	d.checkHosts(&w.Web)
	if p, ok := d.checkable(&w.Outputs); ok && len(w.Outputs) == 0 {
		d.report(p, "no output is configured", "add an output, or remove the key to use stdout")
	}
	d.checkStore(&w.Store)
	d.checkStoreNeeded(w)
	switch p, set := d.positions[&w.Blocks]; {
	case w.Account != nil && set:
		d.report(d.positions[w.Account], "account: and accounts: are both set", "move the single block into accounts:")
	case len(blocks) == 0 && !d.isSet(&w.Organizations) && (!set || p.state == valid) && top.state == valid:
		if set {
			top = p
		}
		d.report(top, "no account is configured",
			"add accounts: with a block for each; a block with only extra_tags signs in with the instance's role")
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

// checkCollect checks a collector_configs mapping by itself.
func (d *decoder) checkCollect(c *Collect, loc *time.Location) {
	d.checkNotEmpty(&c.Regions, c.Regions, "write \"*\" to collect every region")
	d.checkNotEmpty(&c.Kinds, c.Kinds, "name a kind; run \"collector kinds\" to list them")
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
			d.report(d.positions[at], "a schedule cannot exclude kinds", "remove the !")
			continue
		}
		d.checkKindPattern(at, pattern)
	}
	for i := range c.ExpectDenied {
		e := &c.ExpectDenied[i]
		d.checkRegionPattern(&e.Region)
		d.checkKindPattern(&e.Kind, e.Kind)
		if p, ok := d.checkable(e); ok && !d.isSet(&e.Region) && !d.isSet(&e.Kind) {
			d.report(p, "names neither a region nor a kind", `write region: "*" to expect every denial`)
		}
	}
}

// checkNotEmpty reports a list that is set but empty.
func (d *decoder) checkNotEmpty(ptr *[]string, list []string, remedy string) {
	if p, ok := d.checkable(ptr); ok && len(list) == 0 {
		d.report(p, "is empty: nothing would be collected", remedy)
	}
}

// checkKindPattern checks a name or glob of kinds. at is the address that it was decoded into; a map's key is checked
// at the position of its value.
func (d *decoder) checkKindPattern(at any, pattern string) {
	p, ok := d.positions[at]
	if _, key := at.(mapEntry); !ok || !key && p.state != valid || d.tooManyProblems() {
		return
	}
	if _, key := at.(mapEntry); key {
		p.references = "" // the key is in the file, even if its value is not
	}
	name := strings.TrimPrefix(pattern, "!")
	if d.isKind(name) {
		return
	}
	text, remedy := d.show(p, pattern)+" is not a known kind", `run "collector kinds" to list them`
	if isGlob(name) {
		text = d.show(p, pattern) + " matches no kind"
	}
	if m := d.nearestKind(name); m != "" && p.references == "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	d.report(p, text, remedy)
}

// checkScheduledKinds compares schedules with the kinds that are collected: a block's own schedules with that block's
// kinds, the file's with those of any account.
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
			d.report(p, "no kind is left to collect",
				"name more kinds, or remove a pattern with !: together they exclude every kind")
		}
		if known {
			d.checkSchedulesUsed(c, mine, "the account does not collect it")
		}
	}
	kinds := w.Defaults.Kinds
	if p, ok := d.checkable(&w.Defaults.Kinds); ok && d.allValid(&w.Defaults.Kinds, kinds) &&
		len(kinds) > 0 && len(common) == 0 {
		d.report(p, "no kind is left to collect",
			"name more kinds, or remove a pattern with !: together they exclude every kind")
	}
	if sure {
		d.checkSchedulesUsed(&w.Defaults, anywhere, "no account collects it")
	}
}

// allValid reports whether every pattern of the list was decoded and selects something.
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

// checkSchedulesUsed reports schedules for kinds that no account collects.
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
	const remedy = `write host:port such as 127.0.0.1:9420, or ":9420" for every interface`
	host, port, err := net.SplitHostPort(*ptr)
	n, nerr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		d.report(p, d.show(p, *ptr)+" is not an address to listen on", remedy)
	case nerr != nil:
		d.report(p, d.show(p, *ptr)+" has no port from 0 to 65535", remedy)
	case strings.ContainsAny(host, "/ @") || n == 0 && port != "0":
		d.report(p, d.show(p, *ptr)+" is not an address to listen on", remedy)
	}
}

// checkUniqueNames reports two blocks with the same name: names identify accounts in records and metrics.
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
			d.report(p, d.show(p, name)+" is already the name of "+describePosition(before), "give each block its own name")
			continue
		}
		first[name] = p
	}
}

// warnDuplicateAccounts warns of two blocks for the same account, because the second one would fail.
func (d *decoder) warnDuplicateAccounts(blocks []*Account, orgs []Organization) {
	first := map[string]position{}
	for _, a := range blocks {
		id, ok := d.knownAccountID(&a.SignIn)
		if !ok {
			continue
		}
		p := d.positions[a]
		if before, ok := first[id]; ok {
			d.warn(p,
				"this is account "+quoteSafe(id)+", like "+describePosition(before)+
					": only the first block of an account is collected",
				"merge the blocks")
			continue
		}
		first[id] = p
	}
	for i := range orgs {
		for j := range orgs[i].Include.Accounts {
			id := &orgs[i].Include.Accounts[j]
			if p, ok := d.checkable(id); ok && p.references == "" {
				if block, ok := first[*id]; ok {
					d.warn(p,
						"account "+quoteSafe(*id)+" is also in "+describePosition(block)+": that block is the one that is collected",
						"remove one of them")
				}
			}
		}
	}
}

// describePosition returns a position in words.
func describePosition(p position) string { return p.path + " (line " + strconv.Itoa(int(p.line)) + ")" }
