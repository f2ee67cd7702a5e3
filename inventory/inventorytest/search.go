package inventorytest

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// searched: a resource is found by any part of what Query.Search names, as it is and as it was, and by nothing else.
func (fx *fixture) searched() {
	items := []Item{
		{
			ID: "i-0abc12", State: "running", Address: "10.20.30.7",
			Tags: map[string]string{"Name": "web-é", "Team": `say "AND"`},
		},
		{ID: "i-0def34", State: "running", Address: "2001:db8::17", Tags: map[string]string{"100%": "under_score"}},
	}
	fx.list(record.OK, items...)
	fx.target = record.Target{Account: "dev-eu", Region: "eu-west-1", Kind: "ec2_volume"}
	fx.identity.AccountID = "111111111111"
	fx.list(record.OK, Item{ID: "vol-77", Tags: map[string]string{"Name": `back\slash`}})
	fx.wantSearches()
	for _, hostile := range []string{
		`"`, `""`, `'`, `*`, "NEAR(a b)", "a OR b", "text:web", "-web", "^web", "web*", "(", "%", "%%%", "___", `\`, "\x00",
		"a\x00bc", "web-é\nTeam", "\xff\xfe\xfd", "' OR 1=1 --", "i-0abc12' --",
		strings.Repeat("x", 10_000), strings.Repeat(`"`, 101),
	} {
		if got := fx.ids(inventory.Query{Search: hostile}); strings.Count(got, " ") > 0 {
			fx.Errorf("%q finds %s", hostile, got)
		}
	}

	fx.target, fx.identity = Target()
	before := time.Now()
	items[0].Address, items[0].Tags = "10.20.30.8", map[string]string{"Name": "moved"}
	fx.list(record.OK, items[0])
	fx.wantText("the old address", fx.ids(inventory.Query{Search: "20.30.7"}), "")
	fx.wantText("the old address, then", fx.ids(inventory.Query{Search: "20.30.7", At: before}), "i-0abc12")
	fx.wantText("the new address, then", fx.ids(inventory.Query{Search: "20.30.8", At: before}), "")
	fx.wantText("the new address", fx.ids(inventory.Query{Search: "20.30.8"}), "i-0abc12")
	fx.wantText("gone", fx.ids(inventory.Query{Search: "0def"}), "")
	fx.wantText("gone, then", fx.ids(inventory.Query{Search: "0def", At: before}), "i-0def34")
	fx.wantText("an account, then", fx.ids(inventory.Query{Search: "dev-", At: before}), "vol-77")
	fx.searchedWhileStaged()
	fx.searchedInPages()
	n, err := fx.driver.NotIndexed(fx.Context())
	if err != nil || n != 0 {
		fx.Errorf("%d versions are not indexed; %v", n, err)
	}
}

func (fx *fixture) wantSearches() {
	fx.Helper()
	for text, want := range map[string]string{
		"i-0abc12": "i-0abc12", "0ABC": "i-0abc12", "bc1": "i-0abc12", "0d": "i-0def34", "i-0": "i-0abc12 i-0def34",
		"web": "i-0abc12", "web-é": "i-0abc12", "team": "i-0abc12", "TEA": "i-0abc12", `say "and"`: "i-0abc12",
		`"a`:    "i-0abc12",
		"20.30": "i-0abc12", "10.20.30.7": "i-0abc12", "db8::17": "i-0def34", "100%": "i-0def34", "0%": "i-0def34",
		"er_s": "i-0def34", "r_": "i-0def34", "r.s": "", `k\s`: "vol-77", `k\`: "vol-77",
		"dev-eu": "vol-77", "DEV": "vol-77", "v-": "vol-77", "11111111": "vol-77", "222222222222": "i-0abc12 i-0def34",
		"nothing": "", "zq": "", "running": "", "webteam": "", "web-éTeam": "",
	} {
		fx.wantText("search "+text, fx.ids(inventory.Query{Search: text}), want)
	}
	q := inventory.Query{Search: "i-0", Kinds: []string{"ec2_volume"}}
	fx.wantText("of another kind", fx.ids(q), "")
}

// searchedWhileStaged: what a listing has not ended is not found, and what it has dropped never is.
func (fx *fixture) searchedWhileStaged() {
	fx.target.Region = "us-west-2"
	v := fx.begin()
	for i := range 3 {
		fx.page(v, Item{ID: fmt.Sprintf("i-staged-%d", i), Pad: strings.Repeat("x", 20_000)})
	}
	fx.wantText("before the end", fx.ids(inventory.Query{Search: "staged"}), "")
	v = fx.begin() // drops the other
	fx.page(v, Item{ID: "i-staged-9"})
	fx.end(v, record.OK)
	fx.wantText("after the end", fx.ids(inventory.Query{Search: "staged"}), "i-staged-9")
	fx.driver = fx.reopen()
	fx.wantText("after a restart", fx.ids(inventory.Query{Search: "staged"}), "i-staged-9")
}

func (fx *fixture) searchedInPages() {
	q := inventory.Query{Search: "i-", Limit: 1}
	var found []string
	for {
		page := fx.findAll(q)
		if len(page) == 0 {
			break
		}
		key := inventory.KeyOf(page[0])
		q.After, found = &key, append(found, key.ID)
	}
	fx.wantText("in pages", strings.Join(found, " "), "i-0abc12 i-staged-9")
	where, err := inventory.ParseWhere("data.InstanceId~'*9'", time.Now())
	fx.must(err)
	fx.wantText("with a condition", fx.ids(inventory.Query{Search: "i-", Where: where, Limit: 1}), "i-staged-9")
}

// waitIndexed waits until the search finds every version.
func (fx *fixture) waitIndexed() {
	fx.Helper()
	for range 600 {
		n, err := fx.driver.NotIndexed(fx.Context())
		fx.must(err)
		if n == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	fx.Fatal("the search index is not complete after 30 seconds")
}
