package inventorytest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// anyHistory compares a random history with a model in memory, at every instant.
func (fx *fixture) anyHistory() {
	const seed = 11
	rnd := rand.New(rand.NewPCG(seed, seed))
	type state map[string]string
	now := state{}
	type moment struct {
		at   time.Time
		then string
	}
	var past []moment
	show := func(s state) string {
		var out []string
		for id, v := range s {
			out = append(out, id+"="+v)
		}
		slices.SortFunc(out, cmp.Compare)
		return strings.Join(out, " ")
	}
	found := func(q inventory.Query) string {
		s := state{}
		for _, r := range fx.findAll(q) {
			s[r.ID] = r.State
		}
		return show(s)
	}
	for range 60 {
		outcome := record.States[rnd.IntN(len(record.States))]
		if rnd.IntN(2) == 0 {
			outcome = record.OK
		}
		var items []Item
		next := state{}
		if outcome != record.OK {
			for k, v := range now {
				next[k] = v
			}
		}
		for i := range 12 {
			if rnd.IntN(3) == 0 {
				continue
			}
			it := Item{ID: fmt.Sprintf("i-%d", i), State: fmt.Sprint("s", rnd.IntN(3)), Volatile: fmt.Sprint(rnd.Int())}
			items = append(items, it)
			next[it.ID] = it.State
		}
		switch rnd.IntN(12) {
		case 0:
			fx.must(fx.inv.Retire(fx.Context(), record.Identity{}, []record.Target{fx.target}, inventory.AccountRemoved))
			next = state{}
		case 1:
			v := fx.begin() // never ended
			fx.page(v, items...)
			continue
		default:
			fx.list(outcome, items...)
		}
		now = next
		fx.wantText("now", found(inventory.Query{}), show(now))
		if rs := fx.findAll(inventory.Query{}); len(rs) > 0 {
			at := slices.MaxFunc(rs, func(x, y *inventory.Resource) int { return x.ValidFrom.Compare(y.ValidFrom) }).LastSeen
			for _, r := range rs {
				if r.ValidFrom.After(at) {
					at = r.ValidFrom
				}
			}
			if outcome == record.OK {
				past = append(past, moment{at, show(now)})
			}
		}
	}
	if len(past) < 10 {
		fx.Fatalf("only %d moments", len(past))
	}
	fx.driver = fx.reopen()
	for _, m := range past {
		fx.wantText("at "+m.at.Format(time.RFC3339Nano), found(inventory.Query{At: m.at}), m.then)
	}
}
