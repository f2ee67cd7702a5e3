package sqlquery

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

var (
	question = Dialect{
		Placeholder: "?",
		Glob:        func(column, param string) string { return column + " GLOB " + param },
		Pattern:     func(glob string) string { return glob },
		Search: func(text string, live bool, param func(any) string) string {
			return fmt.Sprintf("v.text HAS %s AND live IS %t", param(Containing(text)), live)
		},
	}
	dollar = Dialect{
		Placeholder: "$",
		Glob:        func(column, param string) string { return column + " ~ " + param },
		Pattern:     func(glob string) string { return "^" + strings.ReplaceAll(glob, "*", ".*") + "$" },
	}
)

func TestBuilder(t *testing.T) {
	where, err := inventory.ParseWhere("state=running and tags.env=prod", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name    string
		dialect Dialect
		build   func(*Builder)
		want    string
		params  []any
	}{
		{"nothing", question, func(b *Builder) { b.Versions(inventory.Query{}) }, "", nil},
		{"globs", question, func(b *Builder) {
			b.Versions(inventory.Query{Kinds: []string{"ec2_*", "!ec2_image"}, Accounts: []string{"prod", "1*"}})
		}, " WHERE NOT (s.kind GLOB ?2) AND (s.kind GLOB ?1)" +
			" AND (s.account GLOB ?3 OR s.account_id GLOB ?3 OR s.account GLOB ?4 OR s.account_id GLOB ?4)",
			[]any{"ec2_*", "ec2_image", "prod", "1*"}},
		{"another dialect", dollar, func(b *Builder) {
			b.Add("v.valid_to IS NULL")
			b.Versions(inventory.Query{Regions: []string{"us-*"}, ID: "i-1", Where: where})
		}, " WHERE v.valid_to IS NULL AND (s.region ~ $1) AND v.id IN ($2) AND v.state IN ($3)",
			[]any{"^us-.*$", "i-1", "running"}},
		{"changes", question, func(b *Builder) {
			b.Resources(inventory.Query{ID: "i-1", Where: where}, "t")
		}, " WHERE t.id IN (?1)", []any{"i-1"}},
		{"the next page", dollar, func(b *Builder) {
			b.After(nil, "v")
			b.After(&inventory.Key{Kind: "k", Account: "a", Region: "r", ID: "i", AccountID: "1", Partition: "aws"}, "v")
			if limit := b.Limit(inventory.Query{Limit: 2}); limit != " LIMIT $7" {
				t.Error(limit)
			}
			if limit := b.Limit(inventory.Query{Limit: 2, Where: where}) + b.Limit(inventory.Query{}); limit != "" {
				t.Error(limit)
			}
		}, " WHERE (s.kind, s.account, s.region, v.id, s.account_id, s.partition) > ($1, $2, $3, $4, $5, $6)",
			[]any{"k", "a", "r", "i", "1", "aws", 2}},
		{"a search", question, func(b *Builder) {
			b.Search(inventory.Query{})
			b.Search(inventory.Query{Search: "5%_\\\x00\xff", At: since})
		}, " WHERE v.text HAS ?1 AND live IS false", []any{`%5\%\_\\` + "\ufffd\ufffd%"}},
		{"earlier runs", question, func(b *Builder) { b.Runs(inventory.RunQuery{Before: "01J"}) },
			" WHERE r.run < ?1", []any{"01J"}},
		{"runs", dollar, func(b *Builder) {
			b.Runs(inventory.RunQuery{
				IDs: []string{"r1", "r2"}, Accounts: []string{"prod"},
				Statuses: []record.Status{record.RunFailed}, Since: since,
			})
		}, " WHERE r.run IN ($1, $2) AND (r.account ~ $3) AND r.status IN ($4) AND r.run >= $5",
			[]any{"r1", "r2", "^prod$", "failed", inventory.FirstRunID(since)}},
		{"running", question, func(b *Builder) {
			b.Runs(inventory.RunQuery{Statuses: []record.Status{record.RunRunning}})
		}, " WHERE r.status IN (?1) AND r.ended IS NULL", []any{"running"}},
		// A value is never part of the statement.
		{"hostile", question, func(b *Builder) {
			b.Versions(inventory.Query{ID: "' OR 1=1 --", Kinds: []string{"'; DROP TABLE scope"}})
		}, " WHERE (s.kind GLOB ?1) AND v.id IN (?2)", []any{"'; DROP TABLE scope", "' OR 1=1 --"}},
	} {
		b := New(c.dialect)
		c.build(b)
		if got := b.Where(); got != c.want || !reflect.DeepEqual(b.Params(), c.params) {
			t.Errorf("%s:\n got %s %q\nwant %s %q", c.name, got, b.Params(), c.want, c.params)
		}
	}
}
