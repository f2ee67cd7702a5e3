package inventorytest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// CompareSearches fills a store with resources of many targets and their history, and compares what readers of it find,
// in pages, with what a look at every resource finds.
func CompareSearches(t *testing.T, d inventory.Driver, readers map[string]inventory.Reader) {
	t.Helper()
	const seed = 5
	rnd := rand.New(rand.NewPCG(seed, seed))
	at := fillForSearches(t, d, rnd)
	off, err := inventory.ParseWhere("state=off", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	all := map[time.Time][]*inventory.Resource{}
	for _, instant := range []time.Time{{}, at} {
		all[instant] = collect(t, d.Find(t.Context(), inventory.Query{Data: true, At: instant}))
	}
	found := 0
	for range 50 {
		q := inventory.Query{At: []time.Time{{}, at}[rnd.IntN(2)], Limit: []int{0, 1, 9, 40}[rnd.IntN(4)]}
		q.Search = someText(rnd, all[q.At])
		switch rnd.IntN(5) {
		case 0:
			q.Kinds = []string{"ec2_instance"}
		case 1:
			q.Accounts = []string{"dev-*"}
		case 2:
			q.Regions = []string{"us-east-1"}
		case 3:
			q.Where = off
		}
		var want []inventory.Key
		for _, r := range all[q.At] {
			if selects(t, q, r) {
				want = append(want, inventory.KeyOf(r))
			}
		}
		found += min(len(want), 1)
		for name, r := range readers {
			got, more := somePages(t, r, q)
			if more {
				want = want[:min(len(want), len(got))]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %+v finds %d, want %d\n%v\n%v", name, q, len(got), len(want), got, want)
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d texts are in a resource", found)
	}
}

// fillForSearches lists some targets three times, and returns an instant after the second.
func fillForSearches(t *testing.T, d inventory.Driver, rnd *rand.Rand) (at time.Time) {
	t.Helper()
	inv := inventory.New(d, inventory.Options{})
	for round := range 3 {
		for n := range 24 {
			id := n % 4 // two accounts have the same name
			target := record.Target{
				Account: []string{"dev-a", "dev-a", "prod-b", "Stage-c"}[id],
				Region:  []string{"us-east-1", "eu-west-1", "eu-west-2"}[n/4%3],
				Kind:    []string{"ec2_instance", "ec2_volume"}[n/12],
			}
			identity := record.Identity{AccountID: fmt.Sprintf("%012d", id*37+7), Partition: "aws"}
			var items []Item
			for i := range n * 3 % 50 {
				if rnd.IntN(8) == 0 {
					continue // gone, or not there yet
				}
				items = append(items, Item{
					ID:    fmt.Sprintf("%s-%04x", []string{"i", "vol"}[n/12], i*2654435761>>4&0xffff),
					State: []string{"on", "off"}[i%2], Address: fmt.Sprintf("10.%d.%d.%d", id, round*i%4, i),
					Tags: map[string]string{
						"Name": fmt.Sprintf("Web-É%d", i%7), "team": []string{"red", "Blue", "grün"}[(i+round)%3],
					},
				})
			}
			v, err := inv.Begin(t.Context(), target, identity, fmt.Sprint(round))
			if err == nil {
				err = v.Page(t.Context(), Page(target, identity, fmt.Sprint(round), items...))
			}
			if err == nil {
				err = v.End(t.Context(), record.Outcome{
					Target: target, Run: fmt.Sprint(round), State: record.OK, Started: time.Now(),
				})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if round == 1 {
			at = time.Now()
		}
	}
	return at
}

// someText returns a part of what a resource is found by, in another case, or a text that few have.
func someText(rnd *rand.Rand, all []*inventory.Resource) string {
	r := all[rnd.IntN(len(all))]
	lines := strings.Split(searched(r), "\n")
	line := []rune(lines[rnd.IntN(len(lines))])
	n := min(1+rnd.IntN(6), len(line))
	from := rnd.IntN(len(line) - n + 1)
	text := string(line[from : from+n])
	switch rnd.IntN(6) {
	case 0:
		return text + "0"
	case 1:
		return strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				return r - 'a' + 'A'
			}
			return r
		}, text)
	}
	return text
}

// searched is all that a resource is found by.
func searched(r *inventory.Resource) string {
	var tags strings.Builder
	for k, v := range r.Tags {
		fmt.Fprintf(&tags, "%s\n%s\n", k, v)
	}
	return tags.String() + inventory.SearchText(r.ID, r.Name, nil, r.Data) + "\n" + r.Account + "\n" + r.AccountID
}

// selects reports whether a query selects a resource that is valid at its instant.
func selects(t *testing.T, q inventory.Query, r *inventory.Resource) bool {
	t.Helper()
	match, err := q.Where.Match(r)
	if err != nil {
		t.Fatal(err)
	}
	return match && (q.Kinds == nil || r.Kind == q.Kinds[0]) && (q.Regions == nil || r.Region == q.Regions[0]) &&
		(q.Accounts == nil || strings.HasPrefix(r.Account, "dev-")) &&
		strings.Contains(strings.ToLower(searched(r)), strings.ToLower(q.Search))
}

// somePages returns the keys of the first pages of what a query finds, and whether there may be more.
func somePages(t *testing.T, r inventory.Reader, q inventory.Query) (keys []inventory.Key, more bool) {
	t.Helper()
	for range 3 {
		page := collect(t, r.Find(t.Context(), q))
		for _, res := range page {
			keys = append(keys, inventory.KeyOf(res))
		}
		if q.Limit == 0 || len(page) < q.Limit {
			return keys, false
		}
		if len(page) > q.Limit {
			t.Errorf("a page of %d, limit %d", len(page), q.Limit)
		}
		q.After = &keys[len(keys)-1]
	}
	return keys, true
}
