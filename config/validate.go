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
func (d *decoder) validate(w *written, blocks []*Account) {
	top := d.places[w]
	loc := d.timezone(&w.Timezone)
	d.schedule(&w.Schedule, w.Schedule, loc)
	d.collect(&w.Defaults, loc)
	d.sessionKey(w)
	d.listen(&w.Web.Listen)
	d.hosts(&w.Web)
	if p, ok := d.judged(&w.Outputs); ok && len(w.Outputs) == 0 {
		d.report(p, "records would go nowhere", "name an output, or remove the key for stdout")
	}
	d.store(&w.Store)
	d.storeNeeded(w)
	switch p, set := d.places[&w.Blocks]; {
	case w.Account != nil && set:
		d.report(d.places[w.Account], "account: and accounts: stand side by side", "move the single block into accounts:")
	case len(blocks) == 0 && !d.set(&w.Organizations) && (!set || p.state == fine) && top.state == fine:
		if set {
			top = p
		}
		d.report(top, "there is no account", "add accounts: with a block for each; a block that is nothing but extra_tags signs in by the instance's role")
	}
	collects := make([]*Collect, 0, len(blocks)+len(w.Organizations))
	for _, a := range blocks {
		d.account(a, &w.File, loc)
		collects = append(collects, &a.Collect)
	}
	if p, ok := d.judged(&w.Organizations); ok && len(w.Organizations) == 0 {
		d.report(p, "is empty", "name an organization, or remove the key")
	}
	for i := range w.Organizations {
		d.organization(&w.Organizations[i], &w.File, loc)
		collects = append(collects, &w.Organizations[i].Collect)
	}
	d.kindsCollected(w, collects)
	d.namesOnce(blocks)
	d.unnamed(blocks)
	d.accountsOnce(blocks, w.Organizations)
}

// collect judges a block of what to list, by itself.
func (d *decoder) collect(c *Collect, loc *time.Location) {
	d.selects(&c.Regions, c.Regions, "every region is meant by \"*\"")
	d.selects(&c.Kinds, c.Kinds, "name a kind; \"collector kinds\" lists them")
	for i := range c.Regions {
		d.regionPattern(&c.Regions[i])
	}
	for i := range c.Kinds {
		d.kindPattern(&c.Kinds[i], c.Kinds[i])
	}
	for pattern, spec := range c.Schedules {
		at := entry{&c.Schedules, pattern}
		d.schedule(at, spec, loc)
		if strings.HasPrefix(pattern, "!") {
			d.report(d.places[at], "a schedule is for kinds that are named", "write it without the !")
			continue
		}
		d.kindPattern(at, pattern)
	}
	for i := range c.ExpectDenied {
		e := &c.ExpectDenied[i]
		d.regionPattern(&e.Region)
		d.kindPattern(&e.Kind, e.Kind)
		if p, ok := d.judged(e); ok && !d.set(&e.Region) && !d.set(&e.Kind) {
			d.report(p, "names neither a region nor a kind", `to expect every denial, write region: "*"`)
		}
	}
}

// selects reports a list that is there and empty.
func (d *decoder) selects(ptr *[]string, list []string, remedy string) {
	if p, ok := d.judged(ptr); ok && len(list) == 0 {
		d.report(p, "is empty: nothing would be collected", remedy)
	}
}

// kindPattern judges a name or glob of kinds. at is where it was filled in; a map's key is judged at its value's place.
func (d *decoder) kindPattern(at any, pattern string) {
	p, ok := d.places[at]
	if _, key := at.(entry); !ok || !key && p.state != fine || d.full() {
		return
	}
	if _, key := at.(entry); key {
		p.from = "" // the key is in the file, whatever its value is
	}
	name := strings.TrimPrefix(pattern, "!")
	if d.isKind(name) {
		return
	}
	text, remedy := d.show(p, pattern)+" is no kind", `"collector kinds" lists them`
	if isGlob(name) {
		text = d.show(p, pattern) + " matches no kind"
	}
	if m := d.nearestKind(name); m != "" && p.from == "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	d.report(p, text, remedy)
}

// kindsCollected judges schedules against what is collected: in a block by that block, in the file by any of its accounts.
func (d *decoder) kindsCollected(w *written, blocks []*Collect) {
	common := Match(w.Defaults.Kinds, d.known.Kinds)
	anywhere, seen := slices.Clone(common), map[string]bool{}
	for _, kind := range common {
		seen[kind] = true
	}
	sure := d.allFine(&w.Defaults.Kinds, w.Defaults.Kinds)
	for _, c := range blocks {
		mine, known := common, sure
		if d.set(&c.Kinds) {
			mine, known = Match(c.over(w.Defaults).Kinds, d.known.Kinds), d.allFine(&c.Kinds, c.Kinds)
			for _, kind := range mine {
				if !seen[kind] {
					seen[kind] = true
					anywhere = append(anywhere, kind)
				}
			}
			sure = sure && known
		}
		if p, ok := d.judged(&c.Kinds); ok && known && len(c.Kinds) > 0 && len(mine) == 0 {
			d.report(p, "nothing is left to collect", "every kind that is taken in is left out again")
		}
		if known {
			d.collected(c, mine, "the account does not collect it")
		}
	}
	if p, ok := d.judged(&w.Defaults.Kinds); ok && d.allFine(&w.Defaults.Kinds, w.Defaults.Kinds) && len(w.Defaults.Kinds) > 0 && len(Match(w.Defaults.Kinds, d.known.Kinds)) == 0 {
		d.report(p, "nothing is left to collect", "every kind that is taken in is left out again")
	}
	if sure {
		d.collected(&w.Defaults, anywhere, "no account collects it")
	}
}

// allFine reports whether every pattern of the list can be judged and selects something.
func (d *decoder) allFine(ptr *[]string, list []string) bool {
	if p, ok := d.places[ptr]; ok && p.state != fine {
		return false
	}
	for i := range list {
		p, ok := d.places[&list[i]]
		if ok && p.state != fine || !d.isKind(strings.TrimPrefix(list[i], "!")) {
			return false
		}
	}
	return true
}

// collected reports schedules for kinds that nobody collects.
func (d *decoder) collected(c *Collect, kinds []string, but string) {
	for pattern := range c.Schedules {
		p, ok := d.places[entry{&c.Schedules, pattern}]
		if !ok || !d.isKind(pattern) || strings.HasPrefix(pattern, "!") {
			continue
		}
		if len(Match([]string{pattern}, kinds)) == 0 {
			d.report(p, "has a schedule, but "+but, "add it to kinds, or remove its schedule")
		}
	}
}

func (d *decoder) listen(ptr *string) {
	p, ok := d.judged(ptr)
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

// namesOnce reports two blocks of one name: it is what records and metrics are told apart by.
func (d *decoder) namesOnce(blocks []*Account) {
	first := map[string]place{}
	for _, a := range blocks {
		name, at := a.Name, any(&a.Name)
		if !d.set(at) {
			name, at = a.ExtraTags["account_name"], entry{&a.ExtraTags, "account_name"}
		}
		p, ok := d.judged(at)
		if !ok || name == "" {
			continue
		}
		if before, ok := first[name]; ok {
			d.report(p, d.show(p, name)+" is taken by "+where(before), "give each block a name of its own")
			continue
		}
		first[name] = p
	}
}

// accountsOnce warns of two blocks that will turn out to be one account, of which the second fails.
func (d *decoder) accountsOnce(blocks []*Account, orgs []Organization) {
	first := map[string]place{}
	for _, a := range blocks {
		id, ok := d.accountOf(&a.SignIn)
		if !ok {
			continue
		}
		p := d.places[a]
		if before, ok := first[id]; ok {
			d.warn(p, "this is account "+printable(id)+", as is "+where(before)+": of two blocks for one account only the first is collected", "make them one block")
			continue
		}
		first[id] = p
	}
	for i := range orgs {
		for j := range orgs[i].Include.Accounts {
			id := &orgs[i].Include.Accounts[j]
			if p, ok := d.judged(id); ok && p.from == "" {
				if block, ok := first[*id]; ok {
					d.warn(p, "account "+printable(*id)+" is "+where(block)+" too: that block is the one that is collected", "remove one of them")
				}
			}
		}
	}
}

// where is a place in words.
func where(p place) string { return p.path + " (line " + strconv.Itoa(int(p.line)) + ")" }
