package api

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// Both directions, now and at an instant; an id that the store does not have is shown, too.
func TestRelated(t *testing.T) {
	fx := newFixture(t)
	fx.list("prod", "eu-west-1", inventorytest.Item{ID: "i-a", Pad: "i-b"}, inventorytest.Item{ID: "i-b", Pad: "i-b"},
		inventorytest.Item{ID: "i-c", Type: "vol-1", Tags: map[string]string{"x": "i-b", "y": "i-a"}},
		inventorytest.Item{ID: "i'd", Pad: "i-a"})
	fx.list("prod", "us-east-1", inventorytest.Item{ID: "i-far", Pad: "i-a"}) // another region
	show := func(path string) string {
		var out []string
		for _, r := range get[page](fx, path).Items {
			out = append(out, fmt.Sprintf("%s %s %s %v", r["direction"], r["path"], r["id"], r["found"]))
		}
		return strings.Join(out, ", ")
	}
	between := time.Now()
	time.Sleep(time.Millisecond)
	fx.list("prod", "eu-west-1", inventorytest.Item{ID: "i-a"}, inventorytest.Item{ID: "i-b"})
	at := "?at=" + url.QueryEscape(between.UTC().Format(time.RFC3339Nano))
	for path, want := range map[string]string{
		"i-a/related" + at:       "from Pad i'd true, from Tags.Value i-c true, to Pad i-b true",
		"i-b/related" + at:       "from Pad i-a true, from Tags.Value i-c true",
		"i-c/related" + at:       "to Tags.Value i-a true, to Tags.Value i-b true, to InstanceType vol-1 false",
		"i%27d/related" + at:     "to Pad i-a true",
		"i-a/related":            "",
		"i-far/related":          "to Pad i-a true",
		"i-a/related?limit=1000": "",
	} {
		if got := show("resources/instance/" + path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if u := get[page](fx, "resources/instance/i-far/related").Unknown; u.Count != 1 || u.Items[0].Kind != "ec2_volume" {
		t.Errorf("%+v", u)
	}
}

// Resources of global services relate to those of every region. A name is that of a resource of the same account.
func TestRelatedOfGlobalServices(t *testing.T) {
	fx := newFixture(t)
	global := record.Target{Account: "prod", Region: record.GlobalRegion, Kind: "ec2_volume"}
	fx.listing(global, record.OK, inventorytest.Item{ID: "role", Pad: "group"}, inventorytest.Item{ID: "group"},
		inventorytest.Item{ID: "user", Pad: "elsewhere"})
	fx.list("prod", "us-east-1", inventorytest.Item{ID: "i-a", Type: "role"})
	fx.list("prod", "eu-west-1", inventorytest.Item{ID: "i-b", Type: "role"})
	other := record.Target{Account: "stage", Region: record.GlobalRegion, Kind: "ec2_volume"}
	fx.listing(other, record.OK, inventorytest.Item{ID: "group"}, inventorytest.Item{ID: "elsewhere"})
	for path, want := range map[string]string{
		"instance/i-a": "to InstanceType role prod global",
		"volume/role": "from InstanceType i-a prod us-east-1, from InstanceType i-b prod eu-west-1, " +
			"to Pad group prod global",
		"volume/user": "to Pad elsewhere  ",
	} {
		var got []string
		for _, r := range get[page](fx, "resources/"+path+"/related").Items {
			got = append(got, fmt.Sprintf("%s %s %s %s %s", r["direction"], r["path"], r["id"], r["account"], r["region"]))
		}
		slices.Sort(got)
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %q, want %q", path, text, want)
		}
	}
}
