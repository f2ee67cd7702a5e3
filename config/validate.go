package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/record"
)

// validate checks what decoding cannot: keys against each other, and names against the known ones. It skips values that
// are unresolved references, and values that are already reported.
func (d *decoder) validate(w *document, blocks []*Account) {
	top := d.At(w)
	loc := d.checkTimezone(&w.Timezone)
	d.checkSchedule(&w.Schedule, w.Schedule, loc)
	d.checkCollect(&w.Defaults, loc)
	d.checkSessionKey(w)
	d.checkListen(&w.Web.Listen)
	d.checkHosts(&w.Web)
	d.checkActUsers(&w.Web)
	if p, ok := d.Checkable(&w.Outputs); ok && len(w.Outputs) == 0 {
		d.Report(p, "no output is configured", "add an output, or remove the key to use stdout")
	}
	for i := range w.Outputs {
		d.checkOutputKinds(&w.Outputs[i])
	}
	d.checkStore(&w.Store)
	d.checkQueries(w)
	d.checkStoreNeeded(w)
	switch p, set := d.Position(&w.Blocks); {
	case w.Account != nil && set:
		d.Report(d.At(w.Account), "account: and accounts: are both set", "move the single block into accounts:")
	case len(blocks) == 0 && !d.IsSet(&w.Organizations) && !d.IsSet(&w.Profiles) && (!set || p.State == yamldoc.Valid) &&
		top.State == yamldoc.Valid:
		if set {
			top = p
		}
		d.Report(top, "no account is configured",
			"add accounts: with a block for each; a block with only extra_tags signs in with the instance's role")
	}
	collects := make([]*Collect, 0, len(blocks)+len(w.Organizations))
	for _, a := range blocks {
		d.checkAccount(a, &w.File, loc)
		collects = append(collects, &a.Collect)
	}
	if p, ok := d.Checkable(&w.Organizations); ok && len(w.Organizations) == 0 {
		d.Report(p, "is empty", "name an organization, or remove the key")
	}
	for i := range w.Organizations {
		d.checkOrganization(&w.Organizations[i], &w.File, loc)
		collects = append(collects, &w.Organizations[i].Collect)
	}
	d.checkNotEmpty(&w.Profiles, w.Profiles, "name a profile or a glob, or remove the key")
	if len(w.Profiles) > 0 {
		collects = append(collects, new(Collect)) // of their blocks
	}
	d.checkScheduledKinds(w, collects)
	d.warnMaxGoneUnused(w, collects)
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
		at := yamldoc.Entry(&c.Schedules, pattern)
		d.checkSchedule(at, spec, loc)
		if strings.HasPrefix(pattern, "!") {
			d.Report(d.At(at), "a schedule cannot exclude kinds", "remove the !")
			continue
		}
		d.checkKindPattern(at, pattern)
	}
	for i := range c.ExpectDenied {
		e := &c.ExpectDenied[i]
		if e.Region != record.GlobalRegion {
			d.checkRegionPattern(&e.Region)
		}
		d.checkKindPattern(&e.Kind, e.Kind)
		if p, ok := d.Checkable(e); ok && !d.IsSet(&e.Region) && !d.IsSet(&e.Kind) {
			d.Report(p, "names neither a region nor a kind", `write region: "*" to expect every denial`)
		}
	}
}

// warnMaxGoneUnused warns of max_gone without a store, which would know what is missing.
func (d *decoder) warnMaxGoneUnused(w *document, blocks []*Collect) {
	if w.Store.Type != "none" {
		return
	}
	for _, c := range append([]*Collect{&w.Defaults}, blocks...) {
		if p, ok := d.Checkable(&c.MaxGone); ok {
			d.Warn(p, "has no effect: the store's type is none", "set another type of store, or remove it")
		}
	}
}

// checkNotEmpty reports a list that is set but empty.
func (d *decoder) checkNotEmpty(ptr *[]string, list []string, remedy string) {
	if p, ok := d.Checkable(ptr); ok && len(list) == 0 {
		d.Report(p, "is empty: nothing would be collected", remedy)
	}
}

// checkKindPattern checks a name or glob of kinds. at is the address that it was decoded into; a map's key is checked
// at the position of its value.
func (d *decoder) checkKindPattern(at any, pattern string) {
	p, ok := d.Position(at)
	if _, key := at.(yamldoc.MapEntry); !ok || !key && p.State != yamldoc.Valid || d.TooManyProblems() {
		return
	}
	if _, key := at.(yamldoc.MapEntry); key {
		p.References = "" // the key is in the file, even if its value is not
	}
	name := strings.TrimPrefix(pattern, "!")
	if d.isKind(name) {
		return
	}
	text, remedy := d.Show(p, pattern)+" is not a known kind", `run "collector kinds" to list them`
	if isGlob(name) {
		text = d.Show(p, pattern) + " matches no kind"
	}
	if m := d.nearestKind(name); m != "" && p.References == "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	d.Report(p, text, remedy)
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
		if d.IsSet(&c.Kinds) {
			mine, known = Match(c.withDefaults(w.Defaults).Kinds, d.registry.Kinds), d.allValid(&c.Kinds, c.Kinds)
			for _, kind := range mine {
				if !seen[kind] {
					seen[kind] = true
					anywhere = append(anywhere, kind)
				}
			}
			sure = sure && known
		}
		if p, ok := d.Checkable(&c.Kinds); ok && known && len(c.Kinds) > 0 && len(mine) == 0 {
			d.Report(p, "no kind is left to collect",
				"name more kinds, or remove a pattern with !: together they exclude every kind")
		}
		if known {
			d.checkSchedulesUsed(c, mine, "the account does not collect it")
		}
	}
	kinds := w.Defaults.Kinds
	if p, ok := d.Checkable(&w.Defaults.Kinds); ok && d.allValid(&w.Defaults.Kinds, kinds) &&
		len(kinds) > 0 && len(common) == 0 {
		d.Report(p, "no kind is left to collect",
			"name more kinds, or remove a pattern with !: together they exclude every kind")
	}
	if sure {
		d.checkSchedulesUsed(&w.Defaults, anywhere, "no account collects it")
	}
}

// allValid reports whether every pattern of the list was decoded and selects something.
func (d *decoder) allValid(ptr *[]string, list []string) bool {
	if p, ok := d.Position(ptr); ok && p.State != yamldoc.Valid {
		return false
	}
	for i := range list {
		p, ok := d.Position(&list[i])
		if ok && p.State != yamldoc.Valid || !d.isKind(strings.TrimPrefix(list[i], "!")) {
			return false
		}
	}
	return true
}

// checkSchedulesUsed reports schedules for kinds that no account collects.
func (d *decoder) checkSchedulesUsed(c *Collect, kinds []string, but string) {
	for pattern := range c.Schedules {
		p, ok := d.Position(yamldoc.Entry(&c.Schedules, pattern))
		if !ok || !d.isKind(pattern) || strings.HasPrefix(pattern, "!") {
			continue
		}
		if len(Match([]string{pattern}, kinds)) == 0 {
			d.Report(p, "has a schedule, but "+but, "add it to kinds, or remove its schedule")
		}
	}
}

func (d *decoder) checkListen(ptr *string) {
	p, ok := d.Checkable(ptr)
	if !ok {
		return
	}
	const remedy = `write host:port such as 127.0.0.1:9420, or ":9420" for every interface`
	host, port, err := net.SplitHostPort(*ptr)
	n, nerr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		d.Report(p, d.Show(p, *ptr)+" is not an address to listen on", remedy)
	case nerr != nil:
		d.Report(p, d.Show(p, *ptr)+" has no port from 0 to 65535", remedy)
	case strings.ContainsAny(host, "/ @") || n == 0 && port != "0":
		d.Report(p, d.Show(p, *ptr)+" is not an address to listen on", remedy)
	}
}

// checkUniqueNames reports two blocks with the same name: names identify accounts in records and metrics.
func (d *decoder) checkUniqueNames(blocks []*Account) {
	first := map[string]yamldoc.Position{}
	for _, a := range blocks {
		name, at := a.Name, any(&a.Name)
		if !d.IsSet(at) {
			name, at = a.ExtraTags["account_name"], yamldoc.Entry(&a.ExtraTags, "account_name")
		}
		p, ok := d.Checkable(at)
		if !ok || name == "" {
			continue
		}
		if before, ok := first[name]; ok {
			d.Report(p, d.Show(p, name)+" is already the name of "+describePosition(before), "give each block its own name")
			continue
		}
		first[name] = p
	}
}

// warnDuplicateAccounts warns of two blocks for the same account, because the second one would fail.
func (d *decoder) warnDuplicateAccounts(blocks []*Account, orgs []Organization) {
	first := map[string]yamldoc.Position{}
	for _, a := range blocks {
		id, ok := d.knownAccountID(&a.SignIn)
		if !ok {
			continue
		}
		p := d.At(a)
		if before, ok := first[id]; ok {
			d.Warn(p,
				"this is account "+yamldoc.QuoteSafe(id)+", like "+describePosition(before)+
					": only the first block of an account is collected",
				"merge the blocks")
			continue
		}
		first[id] = p
	}
	for i := range orgs {
		for j := range orgs[i].Include.Accounts {
			id := &orgs[i].Include.Accounts[j]
			if p, ok := d.Checkable(id); ok && p.References == "" {
				if block, ok := first[*id]; ok {
					d.Warn(p,
						"account "+yamldoc.QuoteSafe(*id)+" is also in "+describePosition(block)+
							": that block is the one that is collected",
						"remove one of them")
				}
			}
		}
	}
}

// describePosition returns a position in words.
func describePosition(p yamldoc.Position) string {
	return p.Path + " (line " + strconv.Itoa(int(p.Line)) + ")"
}
