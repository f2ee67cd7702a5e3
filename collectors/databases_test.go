package collectors

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// Databases are listed in pages, and refer to their subnet groups, snapshots and networks.
func TestDatabases(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		const region = "eu-west-1"
		c.AddDatabases(region, 222)
		list := func(name string) (map[string]listed, map[string]map[string]any, record.ListStats) {
			return listAll(t, l, w(kind(t, name), region), kind(t, name), "")
		}
		instances, data, st := list("rds_instance")
		if len(instances) != 225 || st.Pages != 3 {
			t.Errorf("%d instances in %d pages", len(instances), st.Pages)
		}
		if want := (listed{"billing", "available", "db.m6g.large"}); instances["billing"] != want {
			t.Errorf("%+v, want %+v", instances["billing"], want)
		}
		subnets, _, _ := list("ec2_subnet")
		groups, _, _ := list("rds_subnet_group")
		group := data["billing"]["DBSubnetGroup"].(map[string]any)
		if _, ok := groups[group["DBSubnetGroupName"].(string)]; !ok {
			t.Errorf("no subnet group %v", group)
		}
		subnet := group["Subnets"].([]any)[0].(map[string]any)["SubnetIdentifier"]
		if _, ok := subnets[subnet.(string)]; !ok {
			t.Errorf("no subnet %v", subnet)
		}
		for name, ids := range map[string][]string{
			"rds_cluster":                   {"orders"},
			"rds_snapshot":                  {"rds:billing-2026-11-01-04-30"},
			"rds_proxy":                     {"billing"},
			"rds_reserved_instance":         nil,
			"elasticache_cluster":           {"sessions-001", "sessions-002"},
			"elasticache_replication_group": {"sessions"},
			"elasticache_snapshot":          nil,
			"elasticache_user":              {"default"},
			"redshift_cluster":              {"reports"},
			"redshift_snapshot":             {"rs:reports-2026-11-01-04-30-00"},
			"redshift_subnet_group":         {"warehouses"},
		} {
			if got, _, _ := list(name); !slices.Equal(slices.Sorted(maps.Keys(got)), ids) {
				t.Errorf("%s: %v, want %v", name, got, ids)
			}
		}
		for _, call := range a.Calls(func(c *awsfake.Call) bool { return c.Service == "rds" }) {
			if call.Params["Version"] != "2014-10-31" || call.Params["MaxRecords"] != "100" {
				t.Errorf("%s: %v", call.Action, call.Params)
			}
		}
	})
}

// The tags in a listing are the record's, whatever the service calls their member. The time to which a database can be
// restored moves on, which is no change of the database.
func TestTagsAndDigestsOfDatabases(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		_ *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		c.AddNetwork("eu-west-1")
		for name, tag := range map[string]string{
			"rds_instance": "billing", "rds_cluster": "orders", "rds_snapshot": "billing", "redshift_cluster": "reports",
		} {
			k := kind(t, name)
			var lines, digests []string
			for range 2 {
				n := 0
				_, err := l.each(context.Background(), w(k, "eu-west-1"), k, "", func(p *record.Page) error {
					for v := range p.Views() {
						if n++; n == 1 {
							lines = append(lines, string(v.Data()))
							digests = append(digests, fmt.Sprintf("%x", v.Digest()))
							var line struct{ Tags map[string]string }
							if err := json.Unmarshal(v.Line(), &line); err != nil {
								return err
							}
							if !maps.Equal(line.Tags, map[string]string{"workload": tag}) {
								t.Errorf("%s: tags %v", name, line.Tags)
							}
						}
					}
					return nil
				})
				if err != nil || n == 0 {
					t.Fatalf("%s: %d records, %v", name, n, err)
				}
				time.Sleep(time.Hour) // of synctest
			}
			if digests[0] != digests[1] {
				t.Errorf("%s: another digest", name)
			}
			if moves := name == "rds_instance" || name == "rds_cluster"; moves == (lines[0] == lines[1]) {
				t.Errorf("%s: data equal: %v", name, !moves)
			}
		}
	})
}
