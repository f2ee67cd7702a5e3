package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory/inventorytest"
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
